# Alarms on what `mergeline cloud publish` reads from the prediction log, and on the bill. Where nothing is published the
# heartbeat's is one; the other two are silent then.

locals {
  metrics_namespace  = "Mergeline/${var.name}"
  metrics_dimensions = { Environment = "production" }

  alarms = {
    latency = {
      metric      = "LatencyP99"
      statistic   = "Maximum"
      threshold   = 250
      comparison  = "GreaterThanThreshold"
      hours       = 1
      of          = 1
      filled      = false # a log that says nothing is the heartbeat's to tell
      description = "One prediction in a hundred takes more than 250 ms."
    }
    errors = {
      metric      = "ErrorShare"
      statistic   = "Maximum"
      threshold   = 0.01
      comparison  = "GreaterThanThreshold"
      hours       = 1
      of          = 1
      filled      = false
      description = "More than one prediction in a hundred fails."
    }
    drift-heartbeat = {
      metric      = "DriftRuns"
      statistic   = "Sum"
      threshold   = 1
      comparison  = "LessThanThreshold"
      hours       = 6
      of          = 5 # 30 hours, as decide.heartbeat_hours: the next run may be late
      filled      = true
      description = "The scheduled look at drift has not ended well for 30 hours: the schedule has died, or what it reads is away."
    }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.data.arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_sns_topic_subscription" "mail" {
  for_each = toset(var.alarms.emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "main" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  evaluation_periods  = each.value.of
  treat_missing_data  = each.value.filled ? "breaching" : "notBreaching"

  # CloudWatch looks further back for older points before it counts one as missing, so that the last beat would go on
  # counting. Where missing is an alarm, nothing is missing: it is 0.
  namespace   = each.value.filled ? null : local.metrics_namespace
  metric_name = each.value.filled ? null : each.value.metric
  dimensions  = each.value.filled ? null : local.metrics_dimensions
  statistic   = each.value.filled ? null : each.value.statistic
  period      = each.value.filled ? null : each.value.hours * 3600

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  dynamic "metric_query" {
    for_each = each.value.filled ? ["FILL(published, 0)"] : []
    content {
      id          = "filled"
      expression  = metric_query.value
      label       = each.value.metric
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = each.value.filled ? [each.value] : []
    content {
      id = "published"
      metric {
        namespace   = local.metrics_namespace
        metric_name = metric_query.value.metric
        dimensions  = local.metrics_dimensions
        stat        = metric_query.value.statistic
        period      = metric_query.value.hours * 3600
      }
    }
  }
}

resource "aws_budgets_budget" "monthly" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = format("%.1f", var.alarms.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:Project$%s", var.name)] # "$${" would be an escape
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_sns_topic_arns  = [aws_sns_topic.alarms.arn]
      subscriber_email_addresses = var.alarms.emails
    }
  }
}
