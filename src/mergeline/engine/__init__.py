"""Where work runs that can be cut into parts: this process, or the workers of a cluster."""
