"""What Terraform made on AWS: read, checked, and taken away again in the right order."""
