# The images of the server and of training. They are pushed and named by their digest: that one has no tag says nothing,
# and a registry does not know which of them production runs. So only age counts, and it is long.

resource "aws_ecr_repository" "main" {
  for_each = toset(["server", "trainer"])

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.data.arn
  }
}

resource "aws_ecr_lifecycle_policy" "main" {
  for_each = aws_ecr_repository.main

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Without a tag, and two years old: a release is built again long before"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 730 }
      action       = { type = "expire" }
    }]
  })
}
