# Settings that are refused before anything is made. Each variable that is named has to fail, so that three runs show all.

mock_provider "aws" {
  source = "./tests/mocks"
}

# What a run does not name is good, whatever terraform.tfvars says.
variables {
  profile   = "standard"
  sagemaker = null
}

run "one_way_to_be_wrong" {
  command = plan
  variables {
    name      = "Mergeline"  # capitals
    region    = "Frankfurt"  # no region
    owner     = ""           # nobody who pays
    expires   = "2030-02-31" # no day
    profile   = "huge"
    github    = { owner = "acme", owner_id = 12, repository = "*", repository_id = 345 } # every repository of an owner
    cluster   = { admin_role_arns = [] }                                                 # nobody who administers
    alarms    = { emails = [], monthly_budget_usd = 300 }                                # nobody who hears
    sagemaker = { image = "server:latest", model_sha256 = "b", receipt_sha256 = "c" }    # an image by its tag
  }
  expect_failures = [
    var.name, var.region, var.owner, var.expires, var.profile, var.github, var.cluster, var.alarms, var.sagemaker,
  ]
}

run "another_way_to_be_wrong" {
  command = plan
  variables {
    name    = "mergeline-with-a-long-name" # too long for a bucket
    region  = "eu-central-1"
    owner   = "ml-team"
    expires = "tomorrow"
    github  = { owner = "acme", owner_id = 0, repository = "model", repository_id = 345 }                         # an id that is none
    cluster = { admin_role_arns = ["arn:aws:iam::123456789012:role/Admin"], public_access_cidrs = ["0.0.0.0/0"] } # all
    alarms  = { emails = ["ml-team@example.com"], monthly_budget_usd = 0 }                                        # no budget
  }
  expect_failures = [var.name, var.expires, var.github, var.cluster, var.alarms]
}

run "a_third_way_to_be_wrong" {
  command = plan
  variables {
    name    = "mergeline"
    region  = "cn-north-1" # where services go by other names
    owner   = "ml-team"
    expires = "never"
    github  = { owner = "acme", owner_id = 12, repository = "model", repository_id = 345 }
    cluster = { admin_role_arns = ["arn:aws:sts::123456789012:assumed-role/Admin/me"] } # what the AWS CLI calls a role
    alarms  = { emails = ["nobody"], monthly_budget_usd = 300 }                         # no address
  }
  expect_failures = [var.region, var.cluster, var.alarms]
}

run "a_version_that_is_no_longer_supported" {
  command = plan
  variables {
    name    = "mergeline"
    region  = "eu-central-1"
    owner   = "ml-team"
    expires = "never"
    github  = { owner = "acme", owner_id = 12, repository = "model", repository_id = 345 }
    cluster = { admin_role_arns = ["arn:aws:iam::123456789012:role/Admin"], version = "1.33" }
    alarms  = { emails = ["ml-team@example.com"], monthly_budget_usd = 300 }
  }
  expect_failures = [var.cluster]
}

run "a_region_of_two_zones" {
  command = plan
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["us-west-1a", "us-west-1c"] }
  }
  variables {
    name    = "mergeline"
    region  = "us-west-1"
    owner   = "ml-team"
    expires = "never"
    github  = { owner = "acme", owner_id = 12, repository = "model", repository_id = 345 }
    cluster = { admin_role_arns = ["arn:aws:iam::123456789012:role/Admin"] }
    alarms  = { emails = ["ml-team@example.com"], monthly_budget_usd = 300 }
  }
  expect_failures = [data.aws_availability_zones.here]
}
