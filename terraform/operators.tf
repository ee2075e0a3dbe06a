# What Terraform's own roles may: `plan` reads settings and never what is stored; `apply` changes what bears our name.

locals {
  roles    = "arn:${local.partition}:iam::${local.account}:role/${var.name}/*"
  boundary = "arn:${local.partition}:iam::${local.account}:policy/${var.name}/${var.name}-boundary"

  # What changes a role: what asks for the boundary that is on it, and what does not.
  write_bounded_roles = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
  write_roles         = ["iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"]

  look = [
    {
      actions = [
        "budgets:ListTagsForResource", "budgets:ViewBudget", "cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource",
        "ec2:DescribeAddresses", "ec2:DescribeAddressesAttribute", "ec2:DescribeAvailabilityZones", "ec2:DescribeFlowLogs",
        "ec2:DescribeInternetGateways", "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", "ec2:DescribePrefixLists",
        "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeTags", "ec2:DescribeVpcAttribute", "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs",
        "eks:DescribeAddonVersions", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:ListTagsForResource", "kms:DescribeKey",
        "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListAliases", "kms:ListResourceTags",
        "logs:DescribeLogGroups", "logs:ListTagsForResource", "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:ListTags", "sns:GetSubscriptionAttributes",
        "sns:GetTopicAttributes", "sns:ListTagsForResource", "sts:GetCallerIdentity",
      ]
      resources = ["*"]
    },
    {
      actions   = ["eks:DescribeAccessEntry", "eks:DescribeAddon", "eks:DescribeCluster", "eks:DescribeNodegroup", "eks:DescribePodIdentityAssociation", "eks:ListAssociatedAccessPolicies", "eks:ListTagsForResource"]
      resources = local.ours.eks
    },
    {
      actions = [
        "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLogging",
        "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy",
        "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning",
        "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
        "s3:GetReplicationConfiguration", "s3:ListBucket",
      ]
      resources = values(local.bucket)
    },
    {
      actions   = ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies"]
      resources = [local.roles]
    },
    {
      actions   = ["iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions", "iam:GetOpenIDConnectProvider"]
      resources = [aws_iam_policy.boundary.arn, local.github_provider]
    },
  ]

  read_state = [
    { actions = ["s3:ListBucket"], resources = [local.state] },
    { actions = ["s3:GetObject"], resources = ["${local.state}/mergeline/*"] },
    { actions = ["kms:Decrypt"], resources = ["*"], conditions = local.of_the_state },
  ]
  write_state = [
    { actions = ["s3:PutObject"], resources = ["${local.state}/mergeline/*"] },
    { actions = ["s3:DeleteObject"], resources = ["${local.state}/mergeline/terraform.tfstate.tflock"] },
    { actions = ["kms:GenerateDataKey"], resources = ["*"], conditions = local.of_the_state },
  ]
  # S3 names the bucket to KMS where the bucket has a key of its own (bootstrap/ switches it on), and else the object.
  of_the_state = {
    StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" }
    StringLike   = { "kms:EncryptionContext:aws:s3:arn" = [local.state, "${local.state}/*"] }
  }

  ours = {
    eks       = ["${local.arns.eks}:cluster/${var.name}", "${local.arns.eks}:*/${var.name}/*"]
    sagemaker = ["${local.arns.sagemaker}:model/${var.name}*", "${local.arns.sagemaker}:endpoint/${var.name}*", "${local.arns.sagemaker}:endpoint-config/${var.name}*"]
  }
  tagged = { StringEquals = { "aws:ResourceTag/Project" = var.name } }

  change = [
    # The network: what is changed or removed has to bear our tag. A tag is given to what is being made, and to what
    # bears ours already: nobody else's thing becomes ours by one.
    {
      actions = [
        "ec2:AllocateAddress", "ec2:CreateFlowLogs", "ec2:CreateInternetGateway", "ec2:CreateLaunchTemplate",
        "ec2:CreateNatGateway", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup", "ec2:CreateSubnet",
        "ec2:CreateVpcEndpoint",
      ]
      resources = ["*"]
    },
    {
      actions   = ["ec2:CreateTags"]
      resources = ["${local.arns.ec2}:*/*"]
      conditions = {
        StringEquals = { "aws:RequestTag/Project" = var.name }
        Null         = { "ec2:CreateAction" = "false" }
      }
    },
    {
      actions    = ["ec2:CreateTags"]
      resources  = ["${local.arns.ec2}:*/*"]
      conditions = local.tagged
    },
    {
      actions = [
        "ec2:AssociateRouteTable", "ec2:AttachInternetGateway", "ec2:AuthorizeSecurityGroupIngress",
        "ec2:CreateLaunchTemplateVersion", "ec2:CreateRoute", "ec2:DeleteFlowLogs", "ec2:DeleteLaunchTemplate",
        "ec2:DeleteNatGateway", "ec2:DeleteRoute", "ec2:DeleteRouteTable", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet",
        "ec2:DeleteTags", "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:DisassociateRouteTable",
        "ec2:ModifyLaunchTemplate", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute", "ec2:ModifyVpcEndpoint",
        "ec2:ReleaseAddress", "ec2:ReplaceRoute", "ec2:ReplaceRouteTableAssociation", "ec2:RevokeSecurityGroupEgress",
        "ec2:RevokeSecurityGroupIngress",
      ]
      resources  = ["*"]
      conditions = local.tagged
    },
    # The cluster. It runs instances of a launch template in the name of whoever makes a node group; subnet and image are
    # the group's and not the template's, so that they cannot be asked to come from it.
    {
      actions    = ["ec2:RunInstances"]
      resources  = ["*"]
      conditions = { StringLike = { "ec2:LaunchTemplate" = "${local.arns.ec2}:launch-template/*" } }
    },
    {
      actions = [
        "eks:AssociateAccessPolicy", "eks:CreateAccessEntry", "eks:CreateAddon", "eks:CreateNodegroup",
        "eks:CreatePodIdentityAssociation", "eks:DeleteAccessEntry", "eks:DeleteAddon", "eks:DeleteNodegroup",
        "eks:DeletePodIdentityAssociation", "eks:DescribeUpdate",
        "eks:DisassociateAccessPolicy", "eks:TagResource", "eks:UntagResource", "eks:UpdateAccessEntry", "eks:UpdateAddon",
        "eks:UpdateClusterConfig", "eks:UpdateClusterVersion", "eks:UpdateNodegroupConfig", "eks:UpdateNodegroupVersion",
        "eks:UpdatePodIdentityAssociation",
      ]
      resources = local.ours.eks
    },
    # Buckets are changed, and not emptied or deleted: that is a person's work (`mergeline cloud destroy`).
    {
      actions = [
        "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
        "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
      ]
      resources = values(local.bucket)
    },
    {
      actions   = ["ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:TagResource", "ecr:UntagResource"]
      resources = values(aws_ecr_repository.main)[*].arn
    },
    {
      actions   = ["kms:CreateGrant", "kms:EnableKeyRotation", "kms:PutKeyPolicy", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription"]
      resources = [aws_kms_key.data.arn, aws_kms_key.signing.arn]
    },
    # Roles: only below our path, only with the boundary, and only for the services that need one. The boundary denies
    # `apply` its own: what it may is an administrator's to change.
    {
      actions    = local.write_bounded_roles
      resources  = [local.roles]
      conditions = { StringEquals = { "iam:PermissionsBoundary" = local.boundary } }
    },
    {
      actions   = local.write_roles
      resources = [local.roles]
    },
    {
      actions   = ["iam:TagPolicy", "iam:UntagPolicy"]
      resources = [local.boundary]
    },
    {
      actions   = ["iam:TagOpenIDConnectProvider", "iam:UntagOpenIDConnectProvider"]
      resources = [local.github_provider]
    },
    {
      actions    = ["iam:PassRole"]
      resources  = [local.roles]
      conditions = { StringEquals = { "iam:PassedToService" = [for each in ["ec2", "eks", "pods.eks", "sagemaker", "vpc-flow-logs"] : "${each}.amazonaws.com"] } }
    },
    # What watches
    {
      actions   = ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource"]
      resources = [for each in ["/${var.name}/*", "/aws/eks/${var.name}/*", "/aws/sagemaker/Endpoints/${var.name}*"] : "${local.arns.logs}:log-group:${each}"]
    },
    {
      actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"]
      resources = ["${local.arns.cloudwatch}:alarm:${var.name}-*"]
    },
    {
      actions   = ["sns:CreateTopic", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource", "sns:Unsubscribe", "sns:UntagResource"]
      resources = ["${local.arns.sns}:${var.name}-*"]
    },
    {
      actions   = ["budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"]
      resources = ["arn:${local.partition}:budgets::${local.account}:budget/${var.name}"]
    },
    {
      actions = [
        "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig", "sagemaker:CreateModel",
        "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel", "sagemaker:DeleteTags",
        "sagemaker:UpdateEndpoint",
      ]
      resources = local.ours.sagemaker
    },
  ]
}
