"""Entry point of `kagenti-operator`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from kagenti_operator.cli.errors import ExitStatus, UsageError


def build_parser() -> argparse.ArgumentParser:
    """The command line: one subparser per command, each with its `main` as default."""
    # Not above: they take a while to load, and Ctrl-C meanwhile is for `main` to answer.

    from kagenti_operator.cli import check, run
    from kagenti_operator.cli.flags import Parser

    parser = Parser(
        prog="kagenti-operator",
        description="Keeps AI agents' traces flowing into MLflow, in the right workspace and only there.",
    )
    parser.add_argument("--version", action="version", version=version("kagenti-operator"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run.add_parser(commands)
    check.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit status."""
    try:
        args = build_parser().parse_args(argv)
        return args.main(args)
    except UsageError as error:
        print(f"kagenti-operator: {error}", file=sys.stderr)
        return ExitStatus.FAILED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
