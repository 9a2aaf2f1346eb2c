"""Keeps every AI agent's traces flowing into MLflow on Kubernetes and OpenShift AI."""
