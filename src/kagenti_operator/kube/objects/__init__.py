"""Partial typed objects: only what is read of each kind."""
