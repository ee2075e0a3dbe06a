# What each role may do. A workload names objects and reads or adds; only `apply` changes what Terraform made.

locals {
  # An ARN's beginning, of a service in this account and region.
  arns   = { for each in ["autoscaling", "ec2", "ecr", "eks", "logs", "cloudwatch", "sns", "sagemaker"] : each => "arn:${local.partition}:${each}:${var.region}:${local.account}" }
  bucket = { for name, each in aws_s3_bucket.main : name => each.arn }
  state  = "arn:${local.partition}:s3:::${local.prefix}-state"

  read = { for name, arn in local.bucket : name => [
    { actions = ["s3:ListBucket"], resources = [arn] },
    { actions = ["s3:GetObject"], resources = ["${arn}/*"] },
    { actions = ["kms:Decrypt"], resources = [aws_kms_key.data.arn], conditions = local.by_s3 },
  ] }
  # To add is not to delete, and what is added to models are hashes: signatures are the role `release`'s. A model in parts goes on after an interruption, for which it lists its parts.
  add = { for name, arn in local.bucket : name => [
    { actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], resources = [name == "models" ? "${arn}/sha256/*" : "${arn}/*"] },
    { actions = ["s3:ListBucketMultipartUploads"], resources = [arn] },
    { actions = ["kms:GenerateDataKey"], resources = [aws_kms_key.data.arn], conditions = local.by_s3 },
  ] }
  sign    = [{ actions = ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"], resources = [aws_kms_key.signing.arn] }]
  metrics = [{ actions = ["cloudwatch:PutMetricData"], resources = ["*"], conditions = { StringEquals = { "cloudwatch:namespace" = local.metrics_namespace } } }]
  by_s3   = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }

  train       = concat(local.read.dvc, local.add.dvc, local.read.models, local.add.models, local.read.mlflow, local.add.mlflow)
  see_cluster = [{ actions = ["eks:DescribeCluster"], resources = ["${local.arns.eks}:cluster/${var.name}"] }]

  permissions = {
    train   = concat(local.train, local.see_cluster)
    monitor = concat(local.read.dvc, local.add.dvc, local.read.models, local.read.predictions, local.add.predictions, local.metrics)
    release = concat(local.read.dvc, local.read.models, local.sign, [
      { actions = ["s3:PutObject"], resources = ["${local.bucket.models}/signatures/*"] },
      { actions = ["kms:GenerateDataKey"], resources = [aws_kms_key.data.arn], conditions = local.by_s3 },
    ])
    image = concat(local.sign, [
      { actions = ["ecr:GetAuthorizationToken"], resources = ["*"] },
      {
        actions = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
          "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
        ]
        resources = [aws_ecr_repository.main["server"].arn]
      },
    ])
    deploy = local.see_cluster
    plan   = concat(local.look, local.read_state)
    apply  = concat(local.look, local.read_state, local.write_state, local.change)
  }

  # Cluster Autoscaler sees all groups, as AWS knows no resource for that, and moves those alone that EKS has tagged as
  # this cluster's, within the least and the most that only `apply` can change.
  autoscaler = [
    {
      actions = [
        "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeScalingActivities", "ec2:DescribeImages", "ec2:DescribeInstanceTypes",
        "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements",
      ]
      resources = ["*"]
    },
    { actions = ["eks:DescribeNodegroup"], resources = ["${local.arns.eks}:nodegroup/${var.name}/*"] },
    {
      actions    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
      resources  = ["${local.arns.autoscaling}:autoScalingGroup:*:autoScalingGroupName/eks-*"]
      conditions = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.name}" = "owned" } }
    },
  ]

  # A server's pod reads models and adds to the log of its own environment; one that trains may what training may.
  pod_permissions = merge({ training = local.train, autoscaler = local.autoscaler }, { for name in ["staging", "production"] : name => concat(local.read.models, [
    { actions = ["s3:PutObject"], resources = ["${local.bucket.predictions}/${name}/*"] },
    { actions = ["kms:GenerateDataKey"], resources = [aws_kms_key.data.arn], conditions = local.by_s3 },
  ]) })

  # What services may beside what AWS keeps for them.
  service_permissions = {
    cluster   = [{ actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"], resources = [aws_kms_key.data.arn] }] # its secrets
    flow-logs = [{ actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], resources = ["${local.arns.logs}:log-group:/${var.name}/flow:*"] }]
    sagemaker = concat(local.read.models, [
      { actions = ["ecr:GetAuthorizationToken"], resources = ["*"] },
      { actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], resources = [aws_ecr_repository.main["server"].arn] },
      { actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], resources = ["${local.arns.logs}:log-group:/aws/sagemaker/Endpoints/${var.name}*"] },
    ])
  }

  policies = { for role, list in merge(
    local.permissions,
    { for name, each in local.pod_permissions : "pod-${name}" => each },
    local.service_permissions,
    ) : role => jsonencode({ Version = "2012-10-17", Statement = [for may in list : merge(
      { Effect = "Allow", Action = may.actions, Resource = may.resources },
      can(may.conditions) ? { Condition = may.conditions } : null,
  )] }) }
}

resource "aws_iam_role_policy" "github" {
  for_each = aws_iam_role.github

  name   = "may"
  role   = each.value.name
  policy = local.policies[each.key]
}

resource "aws_iam_role_policy" "pod" {
  for_each = aws_iam_role.pod

  name   = "may"
  role   = each.value.name
  policy = local.policies["pod-${each.key}"]
}

resource "aws_iam_role_policy" "service" {
  for_each = local.service_permissions

  name   = "may"
  role   = aws_iam_role.service[each.key].name
  policy = local.policies[each.key]
}
