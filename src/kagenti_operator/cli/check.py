"""`kagenti-operator check`: whether an operator that runs elsewhere is well, and its work in place.

What `helm test` runs. It reads only: the operator's pods, their probes, the collector's configuration.
"""

import argparse
import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager

import aiohttp

from kagenti_operator import clock, contract
from kagenti_operator.cli.errors import ExitStatus, UsageError
from kagenti_operator.cli.flags import Commands, add_boolean, add_platform, own_namespace, seconds
from kagenti_operator.controllers.collector.config_check import describe, find_problem
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ConfigError, KubeError
from kagenti_operator.kube.objects.workloads import Pod
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS

SELECTOR = "app.kubernetes.io/name=kagenti-operator,app.kubernetes.io/component=controller-manager"
ENDED = ("Failed", "Succeeded")
PROBES = ("/healthz", "/readyz")
_PROBE_SECONDS = 5.0
_POLL_SECONDS = 1.0


class NotWell(Exception):
    """Something is not as it should be; the text is for people."""


def add_parser(commands: Commands) -> None:
    """Add `check` to the command line."""
    text = "ask a running operator's probes, and whether the collector's configuration is in place"
    parser = commands.add_parser("check", help=text, description=text)
    add_boolean(
        parser,
        "--enable-otel-bootstrap",
        default=False,
        text="the operator was started with it: the collector's configuration has to be in place",
    )
    add_platform(parser)
    parser.add_argument(
        "--selector",
        default=SELECTOR,
        metavar="LABELS",
        help="labels of the operator's pods (default: %(default)s)",
    )
    parser.add_argument(
        "--health-probe-port",
        type=int,
        default=8081,
        metavar="PORT",
        help="where the pods answer probes (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="for how long to look again while something is missing (default: 60)",
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Look until everything is well, and say what is; raise UsageError with what is not."""
    namespace = own_namespace(args.platform_name, os.environ)
    try:
        client = KubeClient(load_connection(os.environ))
        said = asyncio.run(_look_until_well(args, client, namespace))
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except (KubeError, NotWell) as error:
        raise UsageError(f"check failed in namespace {namespace}: {error}") from error
    print("\n".join(said))
    return ExitStatus.DONE


async def _look_until_well(args: argparse.Namespace, client: KubeClient, namespace: str) -> list[str]:
    deadline = clock.monotonic() + args.timeout
    timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
    async with client, aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                return await _look(args, client, session, namespace)
            except (KubeError, NotWell):
                if clock.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_POLL_SECONDS)


async def _look(
    args: argparse.Namespace, client: KubeClient, session: aiohttp.ClientSession, namespace: str
) -> list[str]:
    page = await client.list_page(PODS, namespace=namespace, label_selector=args.selector)
    # A pod that was evicted is left over, with another in its place.
    pods = [p for p in page.items if not p.metadata.deletion_timestamp and p.status.phase not in ENDED]
    if not pods:
        raise NotWell(
            f"no pod has the labels {args.selector}. Is the operator's Deployment there and scaled up?"
        )
    said = [await _ask_probes(session, pod, args.health_probe_port) for pod in pods]
    if args.enable_otel_bootstrap:
        said.append(
            await _find_configuration(client, args.platform_name, args.platform_namespace or namespace)
        )
    return said


async def _ask_probes(session: aiohttp.ClientSession, pod: Pod, port: int) -> str:
    name, address = pod.metadata.name, pod.status.pod_ip
    if not address:
        raise NotWell(f"pod {name} has not started: `kubectl describe pod {name}` says why")
    host = f"[{address}]" if ":" in address else address
    for path in PROBES:
        with _unreachable_is_reported(name, path):
            async with session.get(f"http://{host}:{port}{path}") as answer:
                if answer.status != 200:
                    reason = (await answer.text()).strip()
                    raise NotWell(f"pod {name} answers {path} with {answer.status}: {reason}")
    return f"pod {name} answers {' and '.join(PROBES)}"


@contextmanager
def _unreachable_is_reported(name: str, path: str) -> Generator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotWell(
            f"pod {name} does not answer {path}: {str(error) or 'no answer in time'}. Its log, or a "
            "NetworkPolicy that is not the chart's, says why"
        ) from error


async def _find_configuration(client: KubeClient, names: contract.Names, namespace: str) -> str:
    config_map = await client.get(CONFIG_MAPS, contract.COLLECTOR_CONFIG, namespace)
    collector = await client.get(DEPLOYMENTS, contract.COLLECTOR, namespace)
    problem = find_problem(names, config_map, collector)
    if problem or config_map is None:
        raise NotWell(problem or "")
    return f"the collector's configuration is in place: {describe(names, config_map)}"
