"""Entry point of `kagenti-devcluster`: a one-node cluster of real binaries on this machine."""

import argparse
import asyncio
import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.profiles import DEFAULT, PROFILES, find_profile

if TYPE_CHECKING:
    from kagenti_devcluster.host.status import Status

_LOOK_SECONDS = 1.0


class _Parser(argparse.ArgumentParser):
    """Takes flags that are written out only: a beginning works until another flag begins so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)


type _Commands = "argparse._SubParsersAction[_Parser]"  # pyright: ignore[reportPrivateUsage]


def build_parser() -> argparse.ArgumentParser:
    """The command line: one subparser per command, each with its `main` as default."""
    parser = _Parser(
        prog="kagenti-devcluster", description="Runs a one-node cluster of real binaries on this machine."
    )
    parser.add_argument("--version", action="version", version=version("kagenti-devcluster"))
    actions = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    up = _add(actions, "up", _up, "start it, and return when it is ready; every start begins empty")
    _add_profile(up)
    up.add_argument("--bare", action="store_true", help="the cluster only, without MLflow and a collector")
    _add_keycloak(up)
    up.add_argument("--images", type=Path, metavar="FILE", help="a further table of images, in YAML")
    up.add_argument("--foreground", action="store_true", help="stay until Ctrl-C, then leave nothing")
    demo = _add(actions, "demo", _demo, "run the operator's whole job on it, step by step")
    _add_profile(demo)
    _add_keycloak(demo)
    demo.add_argument("--once", action="store_true", help="take the cluster down at the end")
    demo.add_argument("--keep-going", action="store_true", help="run the rest even if a step fails")
    status = _add(actions, "status", _status, "show its components, addresses and pods")
    status.add_argument("--json", action="store_true", help="the same for programs")
    logs = _add(actions, "logs", _logs, "print logs; without a name, the names of the logs")
    logs.add_argument(
        "name", nargs="?", help="a component, or [namespace/]pod[/container]; a beginning will do"
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    logs.add_argument("-n", "--lines", type=int, help="only so many of the last lines of each log")
    down = _add(actions, "down", _down, "stop it; logs stay until the next start")
    down.add_argument("--purge", action="store_true", help="remove the state directory as well")
    return parser


def _add(
    actions: _Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--directory",
        type=lambda path: Path(path).absolute(),
        help="the state directory (default: $KAGENTI_DEVCLUSTER_DIR, else in the user's directory for state)",
    )
    parser.set_defaults(run=run)
    return parser


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        default=DEFAULT.name,
        metavar="NAME",
        help=f"the platform that it looks like: {', '.join(PROFILES)} (default: {DEFAULT.name})",
    )


def _add_keycloak(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keycloak", action="store_true", help="a real Keycloak as well, set up for agents")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit status."""
    try:
        args = build_parser().parse_args(argv)
        return _run(args)
    except DevClusterError as error:
        print(f"kagenti-devcluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(args: argparse.Namespace) -> int:
    from kagenti_devcluster.host.paths import default_directory

    if args.directory is None:
        args.directory = default_directory()
    try:
        return args.run(args)
    except OSError as error:
        if not _is_about(args.directory, error):
            raise
        raise DevClusterError(
            f"the state directory {args.directory} cannot be used: {error}; give another with --directory"
        ) from error


def _is_about(directory: Path, error: OSError) -> bool:
    """Whether an error is about the directory, something in it, or a directory that it lies in."""
    if not isinstance(error.filename, str):
        return False
    path = Path(error.filename)
    return path.is_relative_to(directory) or directory.is_relative_to(path)


def _up(args: argparse.Namespace) -> int:
    from kagenti_devcluster.host.launcher import find_daemon, start, stop
    from kagenti_devcluster.host.options import ClusterOptions, publish
    from kagenti_devcluster.host.paths import StatePaths
    from kagenti_devcluster.host.status import read_status
    from kagenti_devcluster.toolchain.environments import check_mlflow
    from kagenti_devcluster.toolchain.keycloak import check_keycloak

    profile = find_profile(args.profile)
    paths = StatePaths(args.directory)
    if find_daemon(paths):
        running = _check_running(read_status(paths.status), args)
        print("the cluster is up already")
        _print_addresses(running, paths.kubeconfig)
        return 0
    if not args.bare:
        check_mlflow(profile.mlflow_release)
    if args.keycloak:
        check_keycloak()
    options = ClusterOptions(
        directory=args.directory,
        profile=profile.name,
        bare=args.bare,
        keycloak=args.keycloak,
        images=args.images.absolute() if args.images else None,
        published=publish(profile, mlflow=not args.bare, keycloak=args.keycloak),
    )
    print("starting the cluster", flush=True)
    status = start(options, die_with_parent=args.foreground, say=lambda step: print(f"  {step}", flush=True))
    _print_addresses(status, paths.kubeconfig)
    if args.foreground:
        print("Ctrl-C stops it", flush=True)
        _wait_for_stop(lambda: find_daemon(paths) is not None)
        if not stop(args.directory):
            ended = read_status(paths.status)
            raise DevClusterError(ended.message if ended else "the cluster was killed")
    return 0


def _check_running(status: "Status | None", args: argparse.Namespace) -> "Status":
    """The running cluster, if it is what is asked for. Raises DevClusterError."""
    from kagenti_devcluster.host.paths import directory_option

    where = directory_option(args.directory)
    again = f"end it with `kagenti-devcluster down{where}`, then start it again"
    if status is None or status.phase == "starting":
        raise DevClusterError(
            f"a cluster is starting: wait until `kagenti-devcluster status{where}` says that it is "
            f"ready, or end it with `kagenti-devcluster down{where}`"
        )
    if status.phase != "ready":
        raise DevClusterError(f"a cluster is running, but its state is '{status.phase}': {again}")
    if status.profile != args.profile:
        raise DevClusterError(
            f"the cluster that is up looks like {status.profile}, not like {args.profile}: {again}"
        )
    given = {
        "--bare": args.bare and not status.bare,
        "--keycloak": args.keycloak and not status.keycloak,
        "--images": args.images,
        "--foreground": args.foreground,
    }
    if late := [option for option, is_given in given.items() if is_given]:
        raise DevClusterError(f"a cluster that is up cannot take up {', '.join(late)} any more: {again}")
    return status


def _demo(args: argparse.Namespace) -> int:
    from kagenti_devcluster.cli import demo

    return demo.main(args)


def _wait_for_stop(runs: Callable[[], bool]) -> None:
    """Return when somebody asks this process to end, or when the cluster does not run any more."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while runs() and not stopped.wait(_LOOK_SECONDS):
        pass


def _print_addresses(status: "Status", kubeconfig: Path) -> None:
    print(f"export KUBECONFIG={shlex.quote(str(kubeconfig))}")
    for name, address in status.addresses.items():
        print(f"{name:<12} {address}")


def _status(args: argparse.Namespace) -> int:
    from kagenti_devcluster.host.launcher import find_daemon
    from kagenti_devcluster.host.overview import Overview, render_overview
    from kagenti_devcluster.host.paths import StatePaths
    from kagenti_devcluster.host.status import read_status

    paths = StatePaths(args.directory)
    status = read_status(paths.status)
    running = find_daemon(paths) is not None
    overview = asyncio.run(Overview.take(paths, status, running=running))
    if args.json:
        print(json.dumps(overview.to_json(), indent=2))
    else:
        print(render_overview(overview))
    return 0 if overview.phase == "ready" else 1


def _logs(args: argparse.Namespace) -> int:
    from kagenti_devcluster.host.logs import Follower, find_logs, read_lines, select_logs
    from kagenti_devcluster.host.paths import StatePaths

    paths = StatePaths(args.directory)
    logs = find_logs(paths)
    if args.name is None:
        print("\n".join(log.name for log in logs) or "there are no logs: the cluster was never up")
        return 0
    follower = Follower(paths, args.name)
    shown = ""
    for log in select_logs(logs, args.name):
        shown = _print_log(log.name, shown, "\n".join(read_lines(log.path, args.lines)) + "\n")
    if args.follow:
        for log, text in follower.run():
            shown = _print_log(log.name, shown, text)
    return 0


def _print_log(name: str, shown: str, text: str) -> str:
    """Print a part of a log, with its name above it when it is another log than the last one."""
    if name != shown:
        print(f"==> {name} <==", file=sys.stderr, flush=True)
    print(text, end="", flush=True)
    return name


def _down(args: argparse.Namespace) -> int:
    from kagenti_devcluster.host.launcher import purge, stop

    stopped = stop(args.directory)
    print("the cluster is down" if stopped else "no cluster was up")
    if args.purge and args.directory.exists():
        if purge(args.directory):
            print(f"removed {args.directory}")
        else:
            print(f"removed the cluster's files from {args.directory}, and left what else is in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
