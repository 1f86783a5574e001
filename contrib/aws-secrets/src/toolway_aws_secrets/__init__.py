"""The plugin `aws-secrets`: secrets from AWS Secrets Manager."""
