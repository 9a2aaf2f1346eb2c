"""What a token looks like, for tests that look for one where none may be."""

import re

# A ServiceAccount's token is a JWT, and its header always begins like this.
TOKEN = re.compile(r"eyJhbGciOi[\w-]+\.[\w-]+\.[\w-]+")
