# What the settings make, by a provider that asks nobody: terraform test

mock_provider "aws" {
  source = "./tests/mocks"
}

# All of them, also those that have defaults: what terraform.tfvars says is a team's own, and not what is tested.
variables {
  name      = "mergeline"
  region    = "eu-central-1"
  owner     = "ml-team"
  expires   = "never"
  profile   = "standard"
  github    = { owner = "acme", owner_id = 12, repository = "model", repository_id = 345 }
  cluster   = { admin_role_arns = ["arn:aws:iam::123456789012:role/Admin"] }
  alarms    = { emails = ["ml-team@example.com"], monthly_budget_usd = 300 }
  sagemaker = null
}

run "standard" {
  command = plan

  assert {
    condition     = length(aws_subnet.private) == 3 && length(aws_nat_gateway.main) == 1
    error_message = "expected three zones and one NAT"
  }
  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["ecr.api", "ecr.dkr"])
    error_message = "expected the endpoints of ECR"
  }
  assert {
    condition     = length(aws_flow_log.main) == 1 && aws_cloudwatch_log_group.cluster.retention_in_days == 365
    error_message = "expected flow logs, and logs of a year"
  }
  assert {
    condition     = aws_eks_cluster.main.vpc_config[0].endpoint_private_access && !aws_eks_cluster.main.vpc_config[0].endpoint_public_access
    error_message = "expected a private API"
  }
  assert {
    condition     = aws_eks_node_group.main["training"].scaling_config[0].min_size == 0 && length(aws_eks_node_group.main["training"].taint) == 1
    error_message = "expected a training group that goes to zero and is tainted"
  }
  assert {
    condition     = length(aws_sagemaker_endpoint.server) == 0 && length(aws_cloudwatch_log_group.sagemaker) == 0
    error_message = "expected no endpoint of SageMaker"
  }
  assert {
    condition     = aws_s3_bucket.main["models"].object_lock_enabled && !aws_s3_bucket.main["dvc"].object_lock_enabled
    error_message = "expected locks on models and on nothing else"
  }
  assert {
    condition     = one(aws_budgets_budget.monthly.cost_filter).values == tolist(["user:Project$mergeline"])
    error_message = "expected a budget that counts by the tag Project"
  }
  assert {
    condition     = toset(keys(data.aws_eks_addon_version.main)) == toset(keys(aws_eks_addon.main)) && alltrue([for each in data.aws_eks_addon_version.main : each.most_recent && each.kubernetes_version == aws_eks_cluster.main.version])
    error_message = "expected the newest add-ons that run on the cluster's version"
  }
  assert {
    condition     = alltrue([for each in aws_eks_node_group.main : each.version == aws_eks_cluster.main.version])
    error_message = "expected nodes of the cluster's version"
  }
}

run "small" {
  command = plan
  variables {
    profile = "small"
  }

  assert {
    condition     = length(aws_subnet.private) == 3 && length(aws_vpc_endpoint.interface) == 0 && length(aws_flow_log.main) == 0
    error_message = "expected the same zones, without what is paid by the hour"
  }
  assert {
    condition     = aws_eks_node_group.main["serving"].capacity_type == "SPOT" && aws_eks_node_group.main["serving"].scaling_config[0].max_size == 3
    error_message = "expected at most three small nodes"
  }
  assert {
    condition     = aws_s3_bucket_object_lock_configuration.models.rule[0].default_retention[0].days == 1
    error_message = "expected locks that let a trial be destroyed on the next day"
  }
}

run "all_that_is_off" {
  command = plan
  variables {
    cluster = { version = "1.99", public_access_cidrs = ["203.0.113.0/24"], admin_role_arns = ["arn:aws:iam::123456789012:role/Admin"] }
    sagemaker = {
      image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mergeline/server@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      model_sha256   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
      receipt_sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    }
    github = {
      owner             = "acme"
      owner_id          = 12
      repository        = "model"
      repository_id     = 345
      legacy_subject    = true
      oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    }
  }

  assert {
    condition     = aws_eks_cluster.main.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "expected an API for one network"
  }
  assert {
    condition     = length(aws_eks_access_policy_association.admin) == 1
    error_message = "expected one administrator"
  }
  assert {
    condition     = toset([for each in aws_eks_node_group.main : each.version]) == toset(["1.99"])
    error_message = "expected nodes that follow the cluster's version"
  }
  assert {
    condition     = length(aws_sagemaker_endpoint.server) == 1 && length(aws_cloudwatch_metric_alarm.sagemaker) == 2
    error_message = "expected an endpoint with its alarms"
  }
  assert {
    condition     = aws_cloudwatch_log_group.sagemaker[0].name == "/aws/sagemaker/Endpoints/mergeline" && aws_cloudwatch_log_group.sagemaker[0].retention_in_days == 365
    error_message = "expected the endpoint's log, for a year"
  }
  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "expected no second provider for GitHub"
  }
  assert {
    condition = jsondecode(aws_iam_role.github["train"].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == [
      "repo:acme@12/model@345:environment:train", "repo:acme/model:environment:train",
    ]
    error_message = "expected the new and the old form of the subject"
  }
}

# Another image, another receipt, one more instance: each is a new model and a new configuration.
run "another_image" {
  command = plan
  variables {
    sagemaker = {
      image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mergeline/server@sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
      model_sha256   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
      receipt_sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    }
  }

  assert {
    condition     = output.sagemaker.mergeline != run.all_that_is_off.sagemaker.mergeline
    error_message = "expected a new configuration"
  }
  assert {
    condition     = aws_sagemaker_model.server[0].name == output.sagemaker.mergeline
    error_message = "expected a new model with it"
  }
}

run "another_receipt" {
  command = plan
  variables {
    sagemaker = {
      image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mergeline/server@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      model_sha256   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
      receipt_sha256 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
    }
  }

  assert {
    condition     = output.sagemaker.mergeline != run.all_that_is_off.sagemaker.mergeline
    error_message = "expected a new configuration"
  }
  assert {
    condition     = aws_sagemaker_model.server[0].name == output.sagemaker.mergeline
    error_message = "expected a new model with it"
  }
}

run "another_instance" {
  command = plan
  variables {
    sagemaker = {
      image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mergeline/server@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      model_sha256   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
      receipt_sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
      instances      = 2
    }
  }

  assert {
    condition     = output.sagemaker.mergeline != run.all_that_is_off.sagemaker.mergeline
    error_message = "expected a new configuration"
  }
  assert {
    condition     = aws_sagemaker_model.server[0].name == output.sagemaker.mergeline
    error_message = "expected a new model with it"
  }
}

# The twin: the same settings are the same configuration.
run "the_same_again" {
  command = plan
  variables {
    sagemaker = {
      image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mergeline/server@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      model_sha256   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
      receipt_sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    }
  }

  assert {
    condition     = output.sagemaker.mergeline == run.all_that_is_off.sagemaker.mergeline
    error_message = "expected the configuration that is there"
  }
}
