"""`kagenti-devcluster demo`: the acceptance plan, run in front of the user."""

import argparse
import asyncio
import os
import signal
import sys

from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.session import run_demo
from kagenti_devcluster.host.options import ClusterOptions, publish
from kagenti_devcluster.profiles import find_profile
from kagenti_devcluster.toolchain.environments import check_mlflow
from kagenti_devcluster.toolchain.keycloak import check_keycloak
from kagenti_operator.runtime.telemetry.logging import configure

_INTERRUPTED = 130


def main(args: argparse.Namespace) -> int:
    """Run the demo; return 1 when a check does not hold, 130 when interrupted."""
    # The steps print what matters; of the libraries beneath them only errors are of interest.
    configure(format="text", level="error")
    profile = find_profile(args.profile)
    check_mlflow(profile.mlflow_release)
    if args.keycloak:
        check_keycloak()
    options = ClusterOptions(
        directory=args.directory,
        profile=profile.name,
        keycloak=args.keycloak,
        published=publish(profile, mlflow=True, keycloak=args.keycloak),
    )
    console = Console(sys.stdout)
    try:
        passed = asyncio.run(_run_demo(args, options, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.say(["interrupted"])
        return _INTERRUPTED
    return 0 if passed else 1


async def _run_demo(args: argparse.Namespace, options: ClusterOptions, console: Console) -> bool:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    # As Ctrl-C, for which asyncio does the same.
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await run_demo(options, console, os.environ, once=args.once, keep_going=args.keep_going)
