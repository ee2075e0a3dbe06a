"""A canary: traffic moves to a candidate in steps, each of which its metrics have to allow."""
