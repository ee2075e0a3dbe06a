# The bucket that holds Terraform's state: made once, before everything else, destroyed last. It reads the settings of
# the configuration beside it; its own state is the small file terraform.tfstate here.

terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
    terraform = {
      source = "terraform.io/builtin/terraform"
    }
  }
}

locals {
  settings = merge({ name = "mergeline" }, provider::terraform::decode_tfvars(file("${path.module}/../terraform.tfvars")))
  bucket   = "${local.settings.name}-${data.aws_caller_identity.here.account_id}-state"
}

provider "aws" {
  region = local.settings.region

  default_tags {
    tags = {
      Project   = local.settings.name
      Owner     = local.settings.owner
      Expires   = local.settings.expires
      ManagedBy = "terraform"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}

resource "aws_kms_key" "state" {
  description             = "${local.settings.name}: Terraform's state"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.here.partition}:iam::${data.aws_caller_identity.here.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18: who read the state is CloudTrail's to say; access logs would be one more bucket to guard
  #checkov:skip=CKV_AWS_144: the state can be imported again from what is there
  #checkov:skip=CKV2_AWS_61: old states are kept: they are small, and the way back
  #checkov:skip=CKV2_AWS_62: nothing here waits for a notification
  bucket = local.bucket
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    bucket_key_enabled = true # KMS is told of the bucket, not of each object: the roles' policies name it
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket     = aws_s3_bucket.state.id
  depends_on = [aws_s3_bucket_public_access_block.state]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

output "bucket" {
  description = "For `terraform init -backend-config=bucket=NAME` in the folder above."
  value       = aws_s3_bucket.state.id
}

output "region" {
  description = "Where it is."
  value       = local.settings.region
}
