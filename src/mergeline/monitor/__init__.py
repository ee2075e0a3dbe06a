"""What is seen of the models that run: profiles of their rows, labels that come later, experiments."""
