output "github_variables" {
  description = "What `mergeline setup-github` sets in the repository."
  value = {
    AWS_REGION       = var.region
    AWS_TRAIN_ROLE   = aws_iam_role.github["train"].arn
    AWS_MONITOR_ROLE = aws_iam_role.github["monitor"].arn
    AWS_RELEASE_ROLE = aws_iam_role.github["release"].arn
    AWS_IMAGE_ROLE   = aws_iam_role.github["image"].arn
    AWS_PLAN_ROLE    = aws_iam_role.github["plan"].arn
    AWS_APPLY_ROLE   = aws_iam_role.github["apply"].arn
    AWS_KMS_KEY      = aws_kms_alias.main["signing"].name
    MERGELINE_CLOUD  = var.name
    MERGELINE_LOG    = "s3://${aws_s3_bucket.main["predictions"].id}/production"
    IMAGE_REPOSITORY = aws_ecr_repository.main["server"].repository_url
    TERRAFORM_STATE  = "${local.prefix}-state"
  }
}

output "push_deployment" {
  description = "The same for teams whose workflow applies the manifests, without Argo CD: `mergeline setup-github --push-deployment`."
  value = {
    AWS_DEPLOY_ROLE = aws_iam_role.github["deploy"].arn
    EKS_CLUSTER     = aws_eks_cluster.main.name
  }
}

output "repository" {
  description = "The repository on GitHub whose workflows may assume the roles."
  value       = "${var.github.owner}/${var.github.repository}"
}

output "subjects" {
  description = "How GitHub's tokens name that repository, with its ids, for `mergeline cloud check`."
  value       = local.repositories
}

output "dvc_remote" {
  description = "For `mergeline remote`."
  value       = "s3://${aws_s3_bucket.main["dvc"].id}"
}

output "model_store" {
  description = "For `release.store` in params.yaml."
  value       = "s3://${aws_s3_bucket.main["models"].id}"
}

output "prediction_logs" {
  description = "For MERGELINE_LOG in k8s/overlays/*/settings.yaml."
  value       = { for each in ["staging", "production"] : each => "s3://${aws_s3_bucket.main["predictions"].id}/${each}" }
}

output "mlflow_artifacts" {
  description = "For `mlflow server --artifacts-destination`; whoever runs that server gives it a role that reads and adds here."
  value       = "s3://${aws_s3_bucket.main["mlflow"].id}"
}

output "sagemaker" {
  description = "The endpoint of SageMaker, and the configuration that it has now; empty without one."
  value       = { for each in aws_sagemaker_endpoint.server : each.name => each.endpoint_config_name }
}

output "name" {
  description = "The name that was given, for `mergeline cloud`."
  value       = var.name
}

output "region" {
  description = "The region, for `mergeline cloud`."
  value       = var.region
}
