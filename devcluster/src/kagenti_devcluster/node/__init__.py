"""The node: gives pods a network, volumes and processes, and reports their status to the API server."""
