"""Control planes, MLflow servers and platforms for tests and benchmarks, without a node."""
