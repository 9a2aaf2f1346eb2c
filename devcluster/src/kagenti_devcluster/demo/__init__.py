"""The demo: the acceptance plan, run step by step on the cluster by people and by the end-to-end tests."""
