"""Measurements of the operator on a real API server: `make bench`."""
