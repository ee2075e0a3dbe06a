"""Training on a cluster: a commit goes there as a Git bundle, and what it came to comes back by the DVC remote."""
