"""The stages of the pipeline: frames and parameters in, records out; no path and no file inside."""
