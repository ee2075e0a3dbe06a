provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project   = var.name
      Owner     = var.owner
      Expires   = var.expires
      ManagedBy = "terraform"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_availability_zones" "here" {
  #checkov:skip=CKV_AWS_394: the first three by name are taken; a zone that AWS adds comes after them
  state            = "available"
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"] # where EKS takes no subnet of a cluster

  filter {
    name   = "opt-in-status" # no local zone
    values = ["opt-in-not-required"]
  }

  lifecycle {
    postcondition {
      condition     = length(self.names) >= 3
      error_message = "region: expected three zones that EKS takes, found ${length(self.names)} in ${var.region}; choose another region."
    }
  }
}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  prefix    = "${var.name}-${local.account}" # of names that are unique in the world

  # All that a profile decides.
  profiles = {
    standard = {
      nat_gateways      = 1
      endpoints         = ["ecr.api", "ecr.dkr"]
      serving           = { types = ["m6i.large"], capacity = "ON_DEMAND", least = 2, most = 6 }
      training          = { types = ["m6i.2xlarge"], capacity = "ON_DEMAND", most = 2 }
      log_days          = 365
      model_lock_days   = 365
      prediction_days   = 400
      key_deletion_days = 30
      flow_logs         = true
    }
    small = {
      nat_gateways      = 1
      endpoints         = []
      serving           = { types = ["t3.medium", "t3a.medium"], capacity = "SPOT", least = 2, most = 3 }
      training          = { types = ["t3.large", "t3a.large"], capacity = "SPOT", most = 1 }
      log_days          = 7
      model_lock_days   = 1
      prediction_days   = 30
      key_deletion_days = 7
      flow_logs         = false
    }
  }
  profile = local.profiles[var.profile]
}
