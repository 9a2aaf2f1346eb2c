"""Whether anything that has to stay secret got into a cluster's logs."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kagenti_devcluster.host.logs import find_logs
from kagenti_devcluster.host.paths import StatePaths
from tests.support.tokens import TOKEN

# Shorter values, such as "true", are in every log.
_SHORTEST = 8


def mounted_tokens(paths: StatePaths) -> set[str]:
    """The tokens in the volumes of the pods that there are."""
    return {path.read_text() for path in paths.pods.glob("*/volumes/**/token")}


def secret_values(secrets: Iterable[Mapping[str, Any]]) -> set[str]:
    """What the given Secrets hold, as text."""
    data: Iterable[Mapping[str, str]] = (secret.get("data") or {} for secret in secrets)
    values = (value for entries in data for value in entries.values())
    texts = (base64.b64decode(value).decode(errors="replace").strip() for value in values)
    return {text for text in texts if len(text) >= _SHORTEST}


def find_leaks(paths: StatePaths, secrets: Iterable[str], *, logs_of: str = "") -> dict[str, list[str]]:
    """Lines that hold a secret or anything that looks like a token, by the log that they are in.

    `logs_of`: the beginning of the logs' names, as `kagenti-devcluster logs` shows them.
    """
    known = tuple(secrets)
    logs = (log for log in find_logs(paths) if log.name.startswith(logs_of))
    found = {log.name: _leaking_lines(log.path, known) for log in logs}
    return {name: lines for name, lines in found.items() if lines}


def _leaking_lines(path: Path, secrets: tuple[str, ...]) -> list[str]:
    with path.open(errors="replace") as lines:
        return [line for line in lines if TOKEN.search(line) or any(secret in line for secret in secrets)]
