"""What the command line cannot go on from."""


class UsageError(Exception):
    """Something that the person who started the command has to mend; the text says what and how."""
