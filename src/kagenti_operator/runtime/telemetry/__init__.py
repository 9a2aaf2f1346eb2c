"""What is said of the operator and by it: metrics, Events, logs, probes, and who may read them."""
