"""Leader election, and the fence that keeps a replica from writing unless it leads."""
