"""The drift check beside its peers and beside the bare reading of the file."""
