"""Keycloak's admin REST API, as far as the operator needs it: clients of a realm."""
