"""What a pull request costs that trains: the workflow `retrain`, from its first job to its gate."""
