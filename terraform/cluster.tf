# EKS. Argo CD pulls from inside, so that nothing outside has to reach the API.

locals {
  addons = ["vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "metrics-server"]

  # GB of a node's disk, and what of it pods may have when the system has its part. Cluster Autoscaler reads no disk of a
  # group that has no node: without this tag a Job that asks for room waits until its deadline.
  disk     = 40
  for_pods = { "k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage" = "${floor(local.disk * 0.85)}Gi" }

  node_groups = {
    serving = {
      types    = local.profile.serving.types
      capacity = local.profile.serving.capacity
      least    = local.profile.serving.least
      most     = local.profile.serving.most
      taints   = []
    }
    # No node until a job asks for one, and none but its own jobs.
    training = {
      types    = local.profile.training.types
      capacity = local.profile.training.capacity
      least    = 0
      most     = local.profile.training.most
      taints   = ["mergeline.dev/training"]
    }
  }
}

resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = local.profile.log_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_eks_cluster" "main" {
  #checkov:skip=CKV_AWS_339: it does not see a default within an object; the variable refuses versions that are too old
  #checkov:skip=CKV_AWS_39: public only to the networks that cluster.public_access_cidrs names; by default there are none
  name                          = var.name
  version                       = var.cluster.version
  role_arn                      = aws_iam_role.service["cluster"].arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = aws_kms_key.data.arn
    }
  }

  upgrade_policy {
    support_type = "STANDARD"
  }

  vpc_config {
    subnet_ids              = aws_subnet.private[*].id
    endpoint_private_access = true
    endpoint_public_access  = length(var.cluster.public_access_cidrs) > 0
    public_access_cidrs     = length(var.cluster.public_access_cidrs) > 0 ? var.cluster.public_access_cidrs : null
  }

  depends_on = [aws_cloudwatch_log_group.cluster, aws_iam_role_policy_attachment.service, aws_iam_role_policy.service]
}

resource "aws_launch_template" "node" {
  name                   = "${var.name}-node"
  update_default_version = true

  # A pod cannot reach the node's own credentials.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = local.disk
      volume_type = "gp3"
      encrypted   = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]
    content {
      resource_type = tag_specifications.value
      tags          = { Name = "${var.name}-node", Project = var.name, Owner = var.owner, Expires = var.expires }
    }
  }
}

resource "aws_eks_node_group" "main" {
  for_each = local.node_groups

  cluster_name    = aws_eks_cluster.main.name
  node_group_name = each.key
  version         = aws_eks_cluster.main.version # so the cluster is upgraded first
  node_role_arn   = aws_iam_role.service["node"].arn
  subnet_ids      = aws_subnet.private[*].id
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = each.value.types
  capacity_type   = each.value.capacity
  labels          = { "mergeline.dev/group" = each.key }
  tags            = local.for_pods

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = each.value.least
    desired_size = each.value.least
    max_size     = each.value.most
  }

  dynamic "taint" {
    for_each = each.value.taints
    content {
      key    = taint.value
      value  = "true"
      effect = "NO_SCHEDULE"
    }
  }

  update_config {
    max_unavailable = 1
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's
  }

  depends_on = [aws_iam_role_policy_attachment.service, aws_eks_addon.main["vpc-cni"]]
}

# The newest version of an add-on that runs on the cluster's: an upgrade of the cluster takes them with it.
data "aws_eks_addon_version" "main" {
  for_each = toset(local.addons)

  addon_name         = each.key
  kubernetes_version = var.cluster.version
  most_recent        = true
}

# vpc-cni comes before the nodes and enforces the network policies of k8s/; the others wait for nodes by themselves.
resource "aws_eks_addon" "main" {
  for_each = toset(local.addons)

  cluster_name                = aws_eks_cluster.main.name
  addon_name                  = each.key
  addon_version               = data.aws_eks_addon_version.main[each.key].version
  configuration_values        = each.key == "vpc-cni" ? jsonencode({ enableNetworkPolicy = "true" }) : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}
