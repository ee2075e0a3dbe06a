variable "name" {
  description = "What every resource is called by, and where the names of buckets begin."
  type        = string
  default     = "mergeline"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name: expected 3 to 20 small letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "The AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: expected a region such as eu-central-1."
  }

  validation {
    condition     = !startswith(var.region, "cn-")
    error_message = "region: expected one outside China, where the services of AWS go by other names."
  }
}

variable "owner" {
  description = "The team or person who answers for the cost; a tag of everything."
  type        = string

  validation {
    condition     = can(regex("^[\\w.@ +-]{2,100}$", var.owner))
    error_message = "owner: expected 2 to 100 letters, digits, spaces and . @ + - _."
  }
}

variable "expires" {
  description = "The day after which all of this may be destroyed, or never; a tag of everything."
  type        = string

  validation {
    condition     = var.expires == "never" || can(formatdate("YYYY", "${var.expires}T00:00:00Z"))
    error_message = "expires: expected a day such as 2030-01-31, or never."
  }
}

variable "profile" {
  description = "standard, or small: the same parts for a trial, under 10 dollars a day."
  type        = string
  default     = "standard"

  validation {
    condition     = contains(["standard", "small"], var.profile)
    error_message = "profile: expected standard or small."
  }
}

variable "github" {
  description = <<-EOT
    The repository whose workflows assume the roles: `gh api repos/OWNER/NAME --jq '.owner.id, .id'` shows the ids.
    legacy_subject also takes tokens without ids, of a repository from before 2026-07-15 that has not changed over.
    oidc_provider_arn is the account's provider for GitHub where it has one already; an account can have only one.
  EOT
  type = object({
    owner             = string
    owner_id          = number
    repository        = string
    repository_id     = number
    legacy_subject    = optional(bool, false)
    oidc_provider_arn = optional(string)
  })

  validation {
    condition = alltrue([
      can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}$", var.github.owner)),
      can(regex("^[A-Za-z0-9._-]{1,100}$", var.github.repository)),
    ])
    error_message = "github: expected the names of one owner and one repository, without patterns."
  }

  validation {
    condition     = alltrue([for id in [var.github.owner_id, var.github.repository_id] : id > 0 && floor(id) == id])
    error_message = "github: expected ids that are whole numbers above 0."
  }
}

variable "cluster" {
  description = <<-EOT
    EKS: the roles that administer it, its version, and the networks that reach its API from outside the VPC; without
    one it is private. AWS upgrades a cluster by itself when its version leaves standard support; docs/cloud.md has the
    days.
  EOT
  type = object({
    admin_role_arns     = list(string)
    version             = optional(string, "1.35")
    public_access_cidrs = optional(list(string), [])
  })

  validation {
    condition = length(var.cluster.admin_role_arns) > 0 && alltrue([
      for each in var.cluster.admin_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\\w+=,.@/-]+$", each))
    ])
    error_message = "cluster.admin_role_arns: expected at least one role such as arn:aws:iam::123456789012:role/Admin; who makes a cluster does not administer it."
  }

  validation {
    condition     = can(regex("^1\\.(3[4-9]|[4-9][0-9])$", var.cluster.version))
    error_message = "cluster.version: expected 1.34 or later."
  }

  validation {
    condition = alltrue([
      for each in var.cluster.public_access_cidrs : can(cidrhost(each, 0)) && try(tonumber(split("/", each)[1]), 0) >= 8
    ])
    error_message = "cluster.public_access_cidrs: expected networks of /8 or smaller, not the whole internet."
  }
}

variable "alarms" {
  description = "Who is told of alarms, by mail, and how many dollars a month may cost before they are."
  type = object({
    emails             = list(string)
    monthly_budget_usd = number
  })

  validation {
    condition = length(var.alarms.emails) > 0 && alltrue([
      for each in var.alarms.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", each))
    ])
    error_message = "alarms.emails: expected at least one address; an alarm that nobody hears is none."
  }

  validation {
    condition     = var.alarms.monthly_budget_usd >= 1
    error_message = "alarms.monthly_budget_usd: expected 1 or more."
  }
}

variable "sagemaker" {
  description = <<-EOT
    An endpoint of SageMaker beside the cluster, off without this: the image by its digest, the SHA-256 of a model in the
    model store and of its receipt.
  EOT
  type = object({
    image          = string
    model_sha256   = string
    receipt_sha256 = string
    instance_type  = optional(string, "ml.t2.medium")
    instances      = optional(number, 1)
  })
  default = null

  validation {
    condition = var.sagemaker == null || alltrue([
      can(regex("@sha256:[0-9a-f]{64}$", try(var.sagemaker.image, ""))),
      can(regex("^[0-9a-f]{64}$", try(var.sagemaker.model_sha256, ""))),
      can(regex("^[0-9a-f]{64}$", try(var.sagemaker.receipt_sha256, ""))),
    ])
    error_message = "sagemaker: expected an image by digest (NAME@sha256:...) and two SHA-256 of 64 hexadecimal digits."
  }
}
