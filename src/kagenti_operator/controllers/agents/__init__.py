"""Agents: each has its own experiment, the right to just that one, and an environment that points to it."""
