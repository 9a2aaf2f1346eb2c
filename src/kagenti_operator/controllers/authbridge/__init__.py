"""AuthBridge: every agent pod gets a sidecar that checks who calls it and exchanges tokens for its calls."""
