"""Drift: how far the rows of a stretch of time lie from those that the model was trained on, and whether it matters."""
