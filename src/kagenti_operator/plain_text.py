"""Text of tenants and servers, as it may be shown: without tokens, on one line, and bounded.

What looks like a token is taken out before anything is cut off: half a token is a secret as well.
"""

import re

REDACTED = "<redacted>"

# JSON Web Tokens, of which the first part is enough, OpenShift's opaque tokens, whatever stands where
# credentials stand in a header, and what a query or a form names so.
_SECRETS = re.compile(
    r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}"
    r"|\bsha256~[\w-]{4,}"
    r"|(?<=[Bb]earer )(?!<)[\w.~+/=-]{8,}"
    r"|(?<=[Aa]uthorization: Basic )(?!<)[\w+/=]+"
    r"|\b((?:access_|refresh_|id_)?token|client_secret|password)=(?!<)[^\s&;\"'<>]+"
)
# Of a text that is much longer than what is shown of it only so many times as much is looked at.
_LOOKED_AT = 4


def redact(text: str) -> str:
    """Take out what looks like a token or a password."""
    return _SECRETS.sub(lambda found: f"{found[1]}={REDACTED}" if found[1] else REDACTED, text)


def printable(text: str) -> str:
    """Write control characters, line ends and what turns the direction of writing as their escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def excerpt(text: str | bytes, longest: int) -> str:
    """What is shown of a text: redacted, on one line, and of at most `longest` bytes in UTF-8."""
    looked_at = text[: longest * _LOOKED_AT]
    if isinstance(looked_at, bytes):
        looked_at = looked_at.decode(errors="replace")
    shown = printable(" ".join(redact(looked_at).split()))
    encoded = shown.encode(errors="replace")
    if len(encoded) <= longest and len(looked_at) >= len(text):
        return shown
    return encoded[: longest - len("…".encode())].decode(errors="ignore") + "…"
