# Settings that are refused before anything is made. Each variable that is named has to fail, so that two runs show all.

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
    cluster   = { version = "1.33" }                                                     # no longer supported
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
    github  = { owner = "acme", owner_id = 0, repository = "model", repository_id = 345 } # an id that is none
    cluster = { public_access_cidrs = ["0.0.0.0/0"] }                                     # the whole internet
    alarms  = { emails = ["ml-team@example.com"], monthly_budget_usd = 0 }                # no budget
  }
  expect_failures = [var.name, var.expires, var.github, var.cluster, var.alarms]
}
