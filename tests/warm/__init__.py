"""A `mergeline` that has imported its libraries: commands are forked from it, and tests wait for work alone."""
