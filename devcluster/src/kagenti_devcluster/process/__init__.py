"""The cluster's small programs, each a process of its own: they set up namespaces and wait for one child."""
