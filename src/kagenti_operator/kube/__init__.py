"""Everything that knows the Kubernetes API: client, credentials and partial typed models."""
