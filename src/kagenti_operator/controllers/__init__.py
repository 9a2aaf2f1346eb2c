"""One module per controller: what wakes it, what it looks at, and what should exist."""
