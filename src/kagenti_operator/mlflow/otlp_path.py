"""Pure: under which path an MLflow takes spans.

Its operator always starts it below a path. Up to 3.15 it serves OTLP at the root all the same, from 3.16 on
below the path only, and a collector drops for good what is answered with 404. So the server is asked.
"""

import re
from urllib.parse import urlsplit

from kagenti_operator.contract import OTLP_TRACES_PATH

# Without a token every path answers 401, and one that is made up is answered as any other: no real one is
# needed, and none is sent.
NO_TOKEN = "none"
# From this version on the path counts.
_BELOW_PATH = (3, 16)


def list_candidates(address: str) -> tuple[str, ...]:
    """The URLs to ask, in order: below the address's path, then at the root.

    The root comes second: MLflow from 3.16 on refuses requests there before it looks whether it serves them.
    """
    parts = urlsplit(address)
    root = f"{parts.scheme}://{parts.netloc}"
    return tuple(
        dict.fromkeys(f"{base}{OTLP_TRACES_PATH}" for base in (f"{root}{parts.path.rstrip('/')}", root))
    )


def judge(status: int) -> bool | None:
    """Whether a POST of no spans and no experiment that is answered so came to the right path.

    None where the answer tells nothing, as that of a proxy or of a server that is starting.
    """
    if status in {400, 401, 403, 422}:
        return True
    return False if status == 404 else None


def guess(address: str, version: str | None) -> str:
    """The likely URL where asking does not tell, by `status.version`."""
    below, *rest = list_candidates(address)
    found = re.match(r"v?(\d+)\.(\d+)", version or "")
    if found and (int(found[1]), int(found[2])) < _BELOW_PATH and rest:
        return rest[0]
    return below
