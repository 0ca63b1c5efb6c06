"""What a person looks at: progress, the table of gates, manifests in words."""
