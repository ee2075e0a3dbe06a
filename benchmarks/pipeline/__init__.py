"""What the pipeline costs: each stage, a run with nothing to do, a run from nothing, the default model."""
