# Four buckets. A bucket's own policy holds for every identity of the account.

locals {
  buckets = {
    dvc         = { noncurrent_days = 30, expire = { "jobs/" = 7 } } # what a training job is handed
    models      = { noncurrent_days = null, expire = {} }            # a release is kept until a person retires it
    predictions = { noncurrent_days = 7, expire = { for each in ["production/", "staging/"] : each => local.profile.prediction_days } }
    mlflow      = { noncurrent_days = 30, expire = {} }
  }
}

resource "aws_s3_bucket" "main" {
  #checkov:skip=CKV_AWS_18: who read what is CloudTrail's to say; access logs would be one more bucket to guard
  #checkov:skip=CKV_AWS_144: Git and DVC can rebuild all of it; another region is a team's own decision
  #checkov:skip=CKV2_AWS_62: nothing here waits for a notification
  for_each = local.buckets

  bucket              = "${local.prefix}-${each.key}"
  object_lock_enabled = each.key == "models"
}

resource "aws_s3_bucket_ownership_controls" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "main" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.main[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

# Every hash that is stored is locked, so that whoever stores it has no say in whether it is.
resource "aws_s3_bucket_object_lock_configuration" "models" {
  bucket = aws_s3_bucket_versioning.main["models"].bucket
  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = local.profile.model_lock_days
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "main" {
  #checkov:skip=CKV_AWS_300: the first rule does; with a second one that is dynamic, Checkov does not see it
  for_each   = local.buckets
  depends_on = [aws_s3_bucket_versioning.main]

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = each.value.noncurrent_days == null ? [] : [each.value]
    content {
      id     = "old"
      status = "Enabled"
      filter {}
      noncurrent_version_expiration {
        noncurrent_days = rule.value.noncurrent_days
      }
    }
  }

  dynamic "rule" {
    for_each = each.value.expire
    content {
      id     = "expire ${rule.key}"
      status = "Enabled"
      filter {
        prefix = rule.key
      }
      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_s3_bucket_policy" "main" {
  for_each   = local.buckets
  depends_on = [aws_s3_bucket_public_access_block.main]

  bucket = aws_s3_bucket.main[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket[each.key], "${local.bucket[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      # What names no key gets the bucket's; what names another one, or brings its own along, is refused.
      {
        Sid       = "OurKeyOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket[each.key]}/*"
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = aws_kms_key.data.arn }
        }
      },
      {
        Sid       = "NoKeyOfCallers"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket[each.key]}/*"
        Condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
      },
      {
        Sid       = "KmsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket[each.key]}/*"
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
        }
      },
      ], each.key != "models" ? [] : [
      # A key is created and never replaced; only the parts of an upload are no creation.
      {
        Sid       = "WriteOnce"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket[each.key]}/*"
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      },
    ])
  })
}
