# Who may what in the cluster, and whose pods have which role.

locals {
  # Namespaces and service accounts: of k8s/, and of Cluster Autoscaler, which is a team's to install
  # (docs/training-job.md).
  pods = {
    staging    = { namespace = "mergeline-staging", account = "mergeline" }
    production = { namespace = "mergeline-production", account = "mergeline" }
    training   = { namespace = "mergeline-training", account = "trainer" }
    autoscaler = { namespace = "kube-system", account = "cluster-autoscaler" }
  }
  serving_pods = [for each in ["staging", "production"] : local.pods[each].namespace]
}

resource "aws_eks_access_entry" "admin" {
  for_each = toset(var.cluster.admin_role_arns)

  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.key
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = aws_eks_access_entry.admin

  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
  access_scope {
    type = "cluster"
  }
}

# `kubectl apply` by a workflow: what is in the two namespaces, and no more. The group is for the namespaces themselves.
resource "aws_eks_access_entry" "deploy" {
  cluster_name      = aws_eks_cluster.main.name
  principal_arn     = aws_iam_role.github["deploy"].arn
  kubernetes_groups = ["mergeline-deploy"]
}

resource "aws_eks_access_policy_association" "deploy" {
  cluster_name  = aws_eks_cluster.main.name
  principal_arn = aws_eks_access_entry.deploy.principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"
  access_scope {
    type       = "namespace"
    namespaces = local.serving_pods
  }
}

# Training as a Job: what the group may is in k8s/training.
resource "aws_eks_access_entry" "train" {
  cluster_name      = aws_eks_cluster.main.name
  principal_arn     = aws_iam_role.github["train"].arn
  kubernetes_groups = ["mergeline-train"]
}

resource "aws_eks_pod_identity_association" "main" {
  for_each = local.pods

  cluster_name    = aws_eks_cluster.main.name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = aws_iam_role.pod[each.key].arn
}
