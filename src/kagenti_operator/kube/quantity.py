"""Kubernetes' quantities: `512Mi`, `1G`, `1e9`, `500m`."""

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
# More digits than any memory has are no quantity, and cost time.
_QUANTITY = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE]([+-]?[0-9]{1,2})|([A-Za-z]{0,2}))"
)


def parse_bytes(text: str) -> int | None:
    """The whole bytes of a quantity; None where it is none, or none that is more than zero."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or (found[3] or "") not in _SUFFIXES:
        return None
    factor = Decimal(10) ** int(found[2]) if found[2] else _SUFFIXES[found[3] or ""]
    return int(Decimal(found[1]) * factor) or None
