"""What this repository says to GitHub, and what it asks: comments, pull requests, settings."""
