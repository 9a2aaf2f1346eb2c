"""Values of flags as operators in Go accept them: `--flag`, `--flag=true`, `:8080`, `0`."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from kagenti_operator.cli.errors import UsageError
from kagenti_operator.contract import KAGENTI, PLATFORMS, Names
from kagenti_operator.kube.label_selector import SelectorError, normalize_selector
from kagenti_operator.runtime.telemetry.listener import BadAddressError, BindAddress, parse_bind_address


class Parser(argparse.ArgumentParser):
    """A parser of flags that are written out, and so are its subparsers, which argparse makes of its class.

    A beginning of a flag works only until another flag begins so, and then an upgrade stops the operator.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)


type Commands = "argparse._SubParsersAction[Parser]"  # pyright: ignore[reportPrivateUsage]
"""What `add_subparsers` returns, for which argparse has no public name."""

# RFC 1123 labels, which is what the API server accepts as a namespace's name.
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUE = {"1", "t", "true"}
_FALSE = {"0", "f", "false"}


def boolean(text: str) -> bool:
    """Parse a boolean as Go's flag package does; raise ArgumentTypeError on anything else."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")


def add_boolean(parser: argparse.ArgumentParser, name: str, *, default: bool, text: str) -> None:
    """Add a boolean that is given as `--name` or `--name=true|false`."""
    parser.add_argument(
        name, nargs="?", const=True, default=default, type=boolean, metavar="true|false", help=text
    )


def address(text: str) -> BindAddress | None:
    """Parse an address to listen on; `0` switches the listener off (None)."""
    try:
        return parse_bind_address(text)
    except BadAddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seconds(text: str) -> float:
    """Parse a positive number of seconds; raise ArgumentTypeError on anything else."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number of seconds")
    return value


def count(text: str) -> int:
    """Parse a positive whole number; raise ArgumentTypeError on anything else."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def namespace(text: str) -> str:
    """Parse a namespace's name; empty means none. Raises ArgumentTypeError on what cannot be one."""
    name = text.strip()
    if name and not _NAMESPACE.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"'{text}' cannot be a namespace: lower-case letters, digits and '-', at most 63"
        )
    return name


def label_selector(text: str) -> str:
    """Parse a label selector. Raises ArgumentTypeError on what the API server would refuse."""
    try:
        return normalize_selector(text)
    except SelectorError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no label selector: {error}. One is written as for kubectl get -l: "
            "name=value, name!=value, name in (one,other), name notin (one), name or !name, joined by commas"
        ) from error


def platform_names(text: str) -> Names:
    """Parse the platform's name. Raises ArgumentTypeError on one that is not known."""
    try:
        return PLATFORMS[text.strip()]
    except KeyError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not the name of a platform: {' or '.join(PLATFORMS)}"
        ) from error


def add_platform(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which platform this is, and where."""
    parser.add_argument(
        "--platform-name",
        type=platform_names,
        default=KAGENTI,
        metavar="|".join(PLATFORMS),
        help="the platform's name, which labels, annotations and names begin with (default: kagenti)",
    )
    parser.add_argument(
        "--platform-namespace",
        type=namespace,
        default="",
        metavar="NAMESPACE",
        help="where collector, Phoenix and the platform's interface are (default: the operator's own)",
    )


def own_namespace(names: Names, environ: Mapping[str, str]) -> str:
    """The operator's namespace. Raises UsageError."""
    try:
        return namespace(environ.get("POD_NAMESPACE", "")) or names.namespace
    except argparse.ArgumentTypeError as error:
        raise UsageError(
            f"POD_NAMESPACE={error}. Unset it for {names.namespace}, or set it by the downward API "
            "(fieldPath: metadata.namespace)"
        ) from error
