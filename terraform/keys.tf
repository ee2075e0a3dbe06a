# One key encrypts what is stored, one signs. The roles' own policies say who may use them.

resource "aws_kms_key" "data" {
  description             = "${var.name}: buckets, images, logs, alarms, secrets of the cluster"
  enable_key_rotation     = true
  deletion_window_in_days = local.profile.key_deletion_days
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.account_rules_key,
      {
        Sid       = "Services"
        Effect    = "Allow"
        Principal = { Service = ["logs.${var.region}.amazonaws.com", "cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}

# Signs models and images; the private half never leaves KMS.
resource "aws_kms_key" "signing" {
  #checkov:skip=CKV_AWS_7: AWS does not rotate asymmetric keys; docs/serving.md says how to change it
  description              = "${var.name}: signatures of models and images"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_P256"
  deletion_window_in_days  = local.profile.key_deletion_days
  policy                   = jsonencode({ Version = "2012-10-17", Statement = [local.account_rules_key] })
}

resource "aws_kms_alias" "main" {
  for_each = { data = aws_kms_key.data.key_id, signing = aws_kms_key.signing.key_id }

  name          = "alias/${var.name}-${each.key}"
  target_key_id = each.value
}

locals {
  account_rules_key = {
    Sid       = "Account"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }
}
