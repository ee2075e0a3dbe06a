# An endpoint of SageMaker with the same image and the same model by its hash; nothing of it without var.sagemaker.

locals {
  container = var.sagemaker == null ? null : {
    image = var.sagemaker.image
    environment = {
      AWS_DEFAULT_REGION = var.region
      MERGELINE_MODEL    = var.sagemaker.model_sha256
      MERGELINE_RECEIPT  = var.sagemaker.receipt_sha256
      MERGELINE_STORE    = "s3://${aws_s3_bucket.main["models"].bucket}"
      MERGELINE_LOG      = "none" # its role writes nowhere, and a container's own disk goes with it
    }
  }
  # SageMaker changes neither a model nor a configuration: with any other setting both are others, by this name.
  revision = "${var.name}-${substr(sha256(jsonencode([local.container, var.sagemaker])), 0, 12)}"
}

resource "aws_sagemaker_model" "server" {
  #checkov:skip=CKV_AWS_370: the server fetches its model from the store by its hash, and so needs the network below
  count = var.sagemaker == null ? 0 : 1

  name               = local.revision
  execution_role_arn = aws_iam_role.service["sagemaker"].arn

  primary_container {
    image       = local.container.image
    environment = local.container.environment
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint_configuration" "server" {
  count = length(aws_sagemaker_model.server)

  name        = local.revision
  kms_key_arn = aws_kms_key.data.arn

  production_variants {
    variant_name           = "champion"
    model_name             = aws_sagemaker_model.server[0].name
    instance_type          = var.sagemaker.instance_type
    initial_instance_count = var.sagemaker.instances
  }

  lifecycle {
    create_before_destroy = true
  }
}

# SageMaker would make it by itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "sagemaker" {
  count = length(aws_sagemaker_model.server)

  name              = "/aws/sagemaker/Endpoints/${var.name}"
  retention_in_days = local.profile.log_days
  kms_key_id        = aws_kms_key.data.arn
}

resource "aws_sagemaker_endpoint" "server" {
  count      = length(aws_sagemaker_model.server)
  depends_on = [aws_cloudwatch_log_group.sagemaker]

  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.server[0].name
}

resource "aws_cloudwatch_metric_alarm" "sagemaker" {
  for_each = var.sagemaker == null ? {} : { Invocation5XXErrors = ["Sum", 0], ModelLatency = ["p99", 250000] } # microseconds

  alarm_name          = "${var.name}-sagemaker-${lower(each.key)}"
  alarm_description   = "SageMaker: ${each.key} of the endpoint ${var.name}."
  namespace           = "AWS/SageMaker"
  metric_name         = each.key
  dimensions          = { EndpointName = var.name, VariantName = "champion" }
  statistic           = each.value[0] == "Sum" ? "Sum" : null
  extended_statistic  = each.value[0] == "Sum" ? null : each.value[0]
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value[1]
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
