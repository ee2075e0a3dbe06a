# The most that any of the roles can ever be given, also by a role that may change roles. What it does not allow, no
# role's own policy can; `apply` writes those of others, and never its own or this one.
resource "aws_iam_policy" "boundary" {
  #checkov:skip=CKV_AWS_286: a boundary grants nothing; what it allows is what a role's own policy may still name
  #checkov:skip=CKV_AWS_287: the same
  #checkov:skip=CKV_AWS_288: the same
  #checkov:skip=CKV_AWS_289: the same
  #checkov:skip=CKV_AWS_290: the same
  #checkov:skip=CKV_AWS_355: the same
  #checkov:skip=CKV2_AWS_40: the same
  name = "${var.name}-boundary"
  path = "/${var.name}/"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Most"
        Effect = "Allow"
        Action = [
          "autoscaling:*", "budgets:*", "cloudwatch:*", "ec2:*", "ecr:*", "eks:Describe*", "eks:List*", "eks-auth:*",
          "elasticloadbalancing:*", "iam:Get*", "iam:List*", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*",
          "kms:Get*", "kms:List*", "logs:*", "sagemaker:*", "sns:*", "sts:GetCallerIdentity",
        ]
        Resource = "*"
      },
      {
        Sid      = "OurCluster"
        Effect   = "Allow"
        Action   = "eks:*"
        Resource = local.ours.eks
      },
      # Nothing is deleted but the lock of Terraform's state.
      {
        Sid      = "OurBuckets"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:Get*", "s3:List*", "s3:Put*"]
        Resource = "arn:${local.partition}:s3:::${local.prefix}-*"
      },
      {
        Sid      = "OurLock"
        Effect   = "Allow"
        Action   = "s3:DeleteObject"
        Resource = "${local.state}/mergeline/terraform.tfstate.tflock"
      },
      {
        Sid    = "OurKeys"
        Effect = "Allow"
        Action = [
          "kms:CreateGrant", "kms:EnableKeyRotation", "kms:Encrypt", "kms:PutKeyPolicy", "kms:Sign", "kms:TagResource",
          "kms:UntagResource", "kms:UpdateKeyDescription",
        ]
        Resource = [aws_kms_key.data.arn, aws_kms_key.signing.arn]
      },
      # A role may be made, and given something, only where this boundary is on it.
      {
        Sid       = "OurRolesInBounds"
        Effect    = "Allow"
        Action    = local.write_bounded_roles
        Resource  = local.roles
        Condition = { StringEquals = { "iam:PermissionsBoundary" = local.boundary } }
      },
      {
        Sid      = "OurRoles"
        Effect   = "Allow"
        Action   = concat(local.write_roles, ["iam:PassRole"])
        Resource = local.roles
      },
      {
        Sid      = "OurTags"
        Effect   = "Allow"
        Action   = ["iam:TagPolicy", "iam:UntagPolicy", "iam:TagOpenIDConnectProvider", "iam:UntagOpenIDConnectProvider"]
        Resource = [local.boundary, local.github_provider]
      },
      # A service's own role, which AWS keeps: the cluster makes that of load balancers.
      {
        Sid      = "RolesOfServices"
        Effect   = "Allow"
        Action   = "iam:CreateServiceLinkedRole"
        Resource = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/*"
      },
      {
        Sid      = "NeverItself"
        Effect   = "Deny"
        Action   = concat(local.write_bounded_roles, [for each in local.write_roles : each if !endswith(each, "agRole")])
        Resource = "arn:${local.partition}:iam::${local.account}:role/${var.name}/${var.name}-apply"
      },
      {
        Sid    = "NeverAnybodyElse"
        Effect = "Deny"
        Action = [
          "iam:*AccessKey*", "iam:*Group*", "iam:*LoginProfile*", "iam:*MFADevice*", "iam:*SAMLProvider*",
          "iam:*ServiceSpecificCredential*", "iam:*SigningCertificate*", "iam:*User*", "iam:CreateOpenIDConnectProvider",
          "iam:DeleteOpenIDConnectProvider", "iam:AddClientIDToOpenIDConnectProvider",
        ]
        Resource = "*"
      },
      {
        Sid    = "NeverTheBoundary"
        Effect = "Deny"
        Action = [
          "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion",
          "iam:SetDefaultPolicyVersion", "iam:DeleteRolePermissionsBoundary",
        ]
        Resource = "*"
      },
      {
        Sid      = "NeverAnUnlockedModel"
        Effect   = "Deny"
        Action   = ["s3:BypassGovernanceRetention", "s3:PutBucketObjectLockConfiguration", "s3:PutObjectRetention"]
        Resource = "*"
      },
    ]
  })
}
