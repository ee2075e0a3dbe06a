# The images of the server and of training. They are pushed and named by their digest: that one has no tag says nothing.

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
      description  = "The newest thousand: a build leaves four with its attestations and its signature"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 1000 }
      action       = { type = "expire" }
    }]
  })
}
