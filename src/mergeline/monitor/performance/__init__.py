"""How good the models that run are: by the labels that came late and, until they come, by an estimate."""
