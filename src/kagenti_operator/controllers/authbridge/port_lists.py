"""Ports that people exclude from redirection, in annotations: `8080,9090`."""

from collections.abc import Iterable

from kagenti_operator.controllers.authbridge.ports import HIGHEST_PORT
from kagenti_operator.plain_text import excerpt

_LONGEST = 60


def parse_ports(annotation: str, text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The ports of a list, each once, in its order; and a warning that names what of it is no port."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    ports = dict.fromkeys(int(item) for item in items if _is_port(item))
    if wrong := [item for item in items if not _is_port(item)]:
        shown = excerpt(", ".join(wrong), _LONGEST)
        return tuple(ports), (f"annotation {annotation} has {shown!r}, which is no port, and is left out",)
    return tuple(ports), ()


def join_ports(ports: Iterable[int]) -> str:
    """As proxy-init takes them, each once."""
    return ",".join(map(str, dict.fromkeys(ports)))


def _is_port(text: str) -> bool:
    return (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(HIGHEST_PORT))
        and 1 <= int(text) <= HIGHEST_PORT
    )
