"""The collector: its access to MLflow, its experiment, its configuration and its rollout."""
