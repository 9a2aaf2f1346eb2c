"""Caches that follow the API server by list and watch."""
