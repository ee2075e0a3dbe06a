"""The whole loop on a laptop: pull requests, merges, live traffic, drift, a canary and a way back, on real flights."""
