"""What can go wrong with the cluster, in words for the person who started it."""


class DevClusterError(Exception):
    """Something that the person at the terminal can act on; the message says what to do."""
