# The shop's infrastructure: BuildIt proposes this folder as a stack.
terraform {
  required_version = ">= 1.6"
}

variable "stage" {
  type    = string
  default = "demo"
}

resource "terraform_data" "bucket" {
  input = "shop-${var.stage}"
}

output "bucket" {
  value = terraform_data.bucket.output
}
