"""A one-node cluster of real binaries whose node runs pods as local processes."""
