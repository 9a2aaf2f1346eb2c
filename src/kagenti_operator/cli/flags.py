"""Values of flags as operators in Go accept them: `--flag`, `--flag=true`, `:8080`, `0`."""

import argparse

from kagenti_operator.runtime.listener import BadAddressError, BindAddress, parse_bind_address

type Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]
"""What `add_subparsers` returns, for which argparse has no public name."""

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
