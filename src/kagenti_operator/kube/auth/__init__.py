"""Who the operator is to an API server: credentials, and the connection that is made with them."""
