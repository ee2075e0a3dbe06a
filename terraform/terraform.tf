terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # The bucket is bootstrap/'s: `terraform init -backend-config=bucket=NAME`. There is no `encrypt` here, so that the
  # bucket's own key is used.
  backend "s3" {
    key          = "mergeline/terraform.tfstate"
    use_lockfile = true
  }
}
