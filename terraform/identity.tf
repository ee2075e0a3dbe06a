# Who may become which role. What each may then do is in permissions.tf; boundary.tf caps all of them.

locals {
  # Each role of a workflow, and the environments of GitHub whose jobs assume it. No token without one of them fits.
  environments = {
    train   = ["train"]
    monitor = ["monitor"]
    release = ["release"]
    image   = ["image"]
    plan    = ["plan"]
    apply   = ["apply"]
    deploy  = ["staging", "production"]
  }

  repositories = concat(
    ["${var.github.owner}@${var.github.owner_id}/${var.github.repository}@${var.github.repository_id}"],
    var.github.legacy_subject ? ["${var.github.owner}/${var.github.repository}"] : [],
  )

  github_host     = "token.actions.githubusercontent.com"
  github_provider = coalesce(var.github.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))

  # Roles of AWS services, with the policies that AWS keeps for them.
  services = {
    cluster   = { principal = "eks.amazonaws.com", policies = ["AmazonEKSClusterPolicy"] }
    node      = { principal = "ec2.amazonaws.com", policies = ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy"] }
    flow-logs = { principal = "vpc-flow-logs.amazonaws.com", policies = [] }
    sagemaker = { principal = "sagemaker.amazonaws.com", policies = [] }
  }
  service_policies = { for each in flatten([
    for name, service in local.services : [for policy in service.policies : { role = name, policy = policy }]
  ]) : "${each.role}/${each.policy}" => each }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github.oidc_provider_arn == null ? 1 : 0

  url             = "https://${local.github_host}"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["ffffffffffffffffffffffffffffffffffffffff"] # AWS checks GitHub's certificate by its own roots
}

resource "aws_iam_role" "github" {
  for_each = local.environments

  name                 = "${var.name}-${each.key}"
  path                 = "/${var.name}/"
  permissions_boundary = aws_iam_policy.boundary.arn
  max_session_duration = contains(["train", "release"], each.key) ? 21600 : 3600 # TRAIN_MINUTES may be 360
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.github_provider }
      Condition = { StringEquals = {
        "${local.github_host}:aud" = "sts.amazonaws.com"
        "${local.github_host}:sub" = [
          for each in setproduct(local.repositories, each.value) : "repo:${each[0]}:environment:${each[1]}"
        ]
      } }
    }]
  })
}

# The pods, one role a namespace: EKS gives it to one service account there and to nothing else.
resource "aws_iam_role" "pod" {
  for_each = local.pods

  name                 = "${var.name}-pod-${each.key}"
  path                 = "/${var.name}/"
  permissions_boundary = aws_iam_policy.boundary.arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role" "service" {
  for_each = local.services

  name                 = "${var.name}-${each.key}"
  path                 = "/${var.name}/"
  permissions_boundary = aws_iam_policy.boundary.arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = each.value.principal }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "service" {
  for_each = local.service_policies

  role       = aws_iam_role.service[each.value.role].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value.policy}"
}
