"""Mergeline: a model that is retrained, deployed and watched through Git alone."""

__version__ = "0.1.0"
