"""Stand-ins for OpenShift AI: its manifests, its service CA, and a small MLflow operator."""
