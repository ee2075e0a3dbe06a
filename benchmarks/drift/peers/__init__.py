"""What runs in the peers' own environments: each reads the plain files and computes what the peer does by default."""
