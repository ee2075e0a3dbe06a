"""What leaves the repository: the model's bytes, the receipt that names them, the release files that choose them."""
