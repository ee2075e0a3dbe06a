"""What an answer of the model server costs, beside the ways to serve the same model without it."""
