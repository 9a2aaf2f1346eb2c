"""The controller runtime: informers, work queues, controllers, leader election. Knows nothing of MLflow."""
