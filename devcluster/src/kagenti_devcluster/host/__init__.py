"""The host side: starts and stops the cluster, keeps its state directory, and shows its status and logs."""
