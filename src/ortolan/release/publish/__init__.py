"""Put releases where devices fetch them: an OCI registry, a folder, S3 or GitLab; and move the channels that devices follow."""
