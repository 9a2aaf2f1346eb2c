"""Everything that knows MLflow: its custom resource's status and its REST API."""
