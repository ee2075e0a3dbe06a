"""The next partition of the table, from what was predicted and what turned out."""
