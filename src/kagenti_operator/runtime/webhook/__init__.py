"""Admission: what the API server asks before it makes an object."""
