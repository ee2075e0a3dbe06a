"""A `mergeline` and a `dvc` with their imports behind them: commands are forked, and tests wait for work alone."""
