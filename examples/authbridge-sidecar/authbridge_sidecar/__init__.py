"""A stand-in for AuthBridge's sidecar, whose image is the platform's and is not to be had here."""
