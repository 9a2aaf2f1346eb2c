"""The binaries and Python environments that the cluster runs: how they are found, built and cached."""
