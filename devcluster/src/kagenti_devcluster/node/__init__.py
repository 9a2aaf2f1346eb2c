"""The node: gives pods a network, volumes and processes, and tells the API server how they are."""
