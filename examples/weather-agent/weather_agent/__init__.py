"""An A2A agent that answers questions about the weather, and traces what it does."""
