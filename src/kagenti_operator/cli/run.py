"""`kagenti-operator run`: the operator itself."""

import argparse
import asyncio
import os
import random
import signal
import socket
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from kagenti_operator import contract
from kagenti_operator.cli import keycloak_flags, metrics_server, webhook_server
from kagenti_operator.cli.errors import ExitStatus, UsageError
from kagenti_operator.cli.flags import (
    Commands,
    add_boolean,
    add_platform,
    address,
    count,
    label_selector,
    namespace,
    own_namespace,
    seconds,
)
from kagenti_operator.controllers.agents.experiments import RETRIES
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.mlflow.client_token import ClientToken
from kagenti_operator.controllers.mlflow.metrics import RequestMetrics
from kagenti_operator.controllers.permissions import (
    describe_missing,
    find_missing,
    permit_lease,
    permit_reads,
    permit_reviews,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.controllers.setup import build_features
from kagenti_operator.kube.auth.connection import Connection, OwnToken
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ConfigError
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.control.manager import Manager, Runnable
from kagenti_operator.runtime.election.fencing import fence
from kagenti_operator.runtime.election.leader import (
    LeaderElector,
    Leadership,
    LeadershipLost,
    LeaseSettings,
    process_identity,
)
from kagenti_operator.runtime.election.lease import LeaseClient
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.informer_metrics import InformerMetrics
from kagenti_operator.runtime.telemetry.listener import BindAddress, CannotListenError, Listener
from kagenti_operator.runtime.telemetry.logging import configure
from kagenti_operator.runtime.telemetry.metrics import Metrics
from kagenti_operator.runtime.telemetry.serving_certificate import CertificateError

log = structlog.get_logger(__name__)

# What OpenShift projects into every pod; MLflow's certificate is signed by it.
SERVICE_CA_FILE = Path(contract.SERVICE_CA_FILE)


def add_parser(commands: Commands) -> None:
    """Add `run` to the command line."""
    parser = commands.add_parser("run", help="run the operator against a cluster")
    add_boolean(
        parser, "--enable-mlflow", default=False, text="keep MLflow, its grants and the agents' experiments"
    )
    add_boolean(
        parser,
        "--enable-otel-bootstrap",
        default=False,
        text="keep the OpenTelemetry Collector's configuration",
    )
    add_boolean(
        parser,
        "--enable-console-link",
        default=False,
        text="keep a link to MLflow in OpenShift's web console, with --enable-mlflow",
    )
    add_boolean(
        parser,
        "--enable-authbridge",
        default=False,
        text="serve the admission webhook that gives agents' pods their authentication sidecar",
    )
    parser.add_argument(
        "--authbridge-scc",
        default="",
        metavar="NAME",
        help="SecurityContextConstraints that pods with a sidecar may use on OpenShift; without them their "
        "calls are not redirected there (default: none)",
    )
    add_boolean(
        parser,
        "--mlflow-create-operand",
        default=True,
        text="make the MLflow CR where MLflow is Managed and nobody made one (default: true)",
    )
    add_platform(parser)
    parser.add_argument(
        "--agent-selector",
        type=label_selector,
        action="append",
        default=[],
        metavar="SELECTOR",
        help="label selector of workloads that are agents as well, such as "
        "openshell.ai/managed-by=openshell; may be given several times",
    )
    parser.add_argument(
        "--operator-name",
        default="",
        metavar="NAME",
        help="the operator's own Deployment and ClusterRole (default: as its chart names them)",
    )
    parser.add_argument(
        "--mlflow-workspace",
        type=namespace,
        default="",
        metavar="NAMESPACE",
        help="workspace (namespace) that the collector's spans go to",
    )
    parser.add_argument(
        "--mlflow-experiment-name",
        metavar="NAME",
        help="experiment that the collector's spans go to (default: kagenti-traces, by the platform's name)",
    )
    parser.add_argument(
        "--mlflow-ca-file",
        type=Path,
        metavar="FILE",
        help="certificates to verify MLflow by (default: OpenShift's service CA where the pod has it, "
        "else the system's)",
    )
    add_boolean(
        parser,
        "--mlflow-allow-http",
        default=False,
        text="let the collector send its token to an MLflow at an http:// address, where others can read it",
    )
    parser.add_argument(
        "--mlflow-poll-interval",
        type=seconds,
        default=contract.POLL_SECONDS,
        metavar="SECONDS",
        help="how often MLflow is asked whether an experiment was renamed or deleted (default: 300)",
    )
    parser.add_argument(
        "--agents-mlflow-address",
        choices=contract.AGENTS_ADDRESSES,
        default="auto",
        help="which of MLflow's addresses agents are given: its gateway (status.url), its Service "
        "(status.address.url), or the gateway where its certificate is one that pods trust by themselves "
        "(default: auto)",
    )
    parser.add_argument(
        "--max-concurrent-rolls",
        type=count,
        default=contract.MAX_CONCURRENT_ROLLOUTS,
        metavar="NUMBER",
        help="how many agents are rolled at once to get or lose their environment (default: %(default)s)",
    )
    add_boolean(
        parser,
        "--leader-elect",
        default=False,
        text="work only while holding the lease, for several replicas",
    )
    parser.add_argument(
        "--leader-election-id",
        default="",
        metavar="NAME",
        help="the lease, in the operator's namespace (default: b7c4ae34.kagenti.dev, by the platform's name)",
    )
    webhook_server.add_flags(parser)
    keycloak_flags.add_flags(parser)
    metrics_server.add_flags(parser)
    parser.add_argument(
        "--health-probe-bind-address",
        type=address,
        default=contract.PROBES_ADDRESS,
        metavar="ADDRESS",
        help="where /healthz and /readyz are served; 0 switches it off (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=("json", "text"), default="json", help="text is for people (default: json)"
    )
    levels = ("debug", "info", "warning", "error")
    parser.add_argument(
        "--log-level", choices=levels, default="info", help="the least that is logged (default: info)"
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Run until a signal; return 1 when the leadership was lost, so that the pod starts anew."""
    configure(format=args.log_format, level=args.log_level)
    settings = build_settings(args)
    # Told before anything is asked of a cluster.
    metrics_server.load_certificate(args)
    webhook_server.check_flags(args)
    try:
        connection = load_connection(os.environ)
        return asyncio.run(_run(args, settings, connection))
    except ConfigError as error:
        raise UsageError(str(error)) from error


def build_settings(args: argparse.Namespace) -> Settings:
    """Check what the flags say together. Raises UsageError."""
    ca_file: Path | None = args.mlflow_ca_file
    if ca_file is None and SERVICE_CA_FILE.exists():
        ca_file = SERVICE_CA_FILE
    if ca_file is not None:
        check_ca_file(ca_file)
    if args.enable_console_link and not args.enable_mlflow:
        raise UsageError("--enable-console-link links to MLflow: add --enable-mlflow, or leave it out")
    names: contract.Names = replace(args.platform_name, operator=args.operator_name)
    experiment: str | None = args.mlflow_experiment_name
    if experiment is not None and not experiment.strip():
        raise UsageError("--mlflow-experiment-name is empty: name an experiment, or leave the flag out")
    own = own_namespace(names, os.environ)
    return Settings(
        names=names,
        namespace=args.platform_namespace or own,
        own_namespace=own,
        agent_selectors=tuple(args.agent_selector),
        lease=args.leader_election_id or names.lease,
        enable_mlflow=args.enable_mlflow,
        enable_otel_bootstrap=args.enable_otel_bootstrap,
        enable_console_link=args.enable_console_link,
        enable_authbridge=args.enable_authbridge,
        authbridge_scc=args.authbridge_scc,
        webhook_address=args.webhook_bind_address or BindAddress("", contract.WEBHOOK_PORT),
        webhook_cert_path=args.webhook_cert_path,
        mlflow_create_operand=args.mlflow_create_operand,
        mlflow_workspace=args.mlflow_workspace or None,
        mlflow_experiment_name=(experiment or names.default_experiment).strip(),
        mlflow_ca_file=ca_file,
        mlflow_allow_http=args.mlflow_allow_http,
        mlflow_poll_seconds=args.mlflow_poll_interval,
        agents_mlflow_address=args.agents_mlflow_address,
        max_concurrent_rolls=args.max_concurrent_rolls,
        **keycloak_flags.build_settings(args, names),
    )


def check_ca_file(path: Path) -> None:
    """Raise UsageError where the file holds no certificates. One that is not there yet is waited for."""
    try:
        ssl.create_default_context(cafile=path)
    except FileNotFoundError:
        log.warning("The CA file for MLflow is not there yet, it is used as soon as it is", path=str(path))
    except OSError as error:
        raise UsageError(
            f"--mlflow-ca-file {path} cannot be used: {error.strerror or error}. "
            "It must be a readable file of PEM certificates"
        ) from error


async def _run(args: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    rng, metrics = random.Random(), Metrics()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    leadership = Leadership()
    # Credentials that will never do end it here; later they may be in the middle of a change.
    await connection.authorization()
    asks_mlflow = settings.enable_mlflow or settings.enable_otel_bootstrap
    if asks_mlflow and connection.impersonation:
        # Raises: MLflow knows no impersonation.
        connection.token()
    async with AsyncExitStack() as open_things:
        # The lease is written to gain it; everything else only while leading.
        manager_name = settings.names.manager
        plain = KubeClient(connection, field_manager=manager_name, rng=rng, observer=metrics.observe_request)
        open_things.push_async_callback(plain.close)
        # What was refused comes again by its work queue: a worker that waited instead would hold up others.
        client = KubeClient(
            connection,
            build_connector=fence(leadership.held if args.leader_elect else lambda: True),
            field_manager=manager_name,
            rng=rng,
            observer=metrics.observe_request,
            patience_seconds=0,
        )
        open_things.push_async_callback(client.close)
        instance = os.environ.get("POD_NAME") or socket.gethostname()
        events = EventRecorder(client, instance=instance, rng=rng, controller=manager_name)
        requests, own = RequestMetrics(metrics.registry), OwnToken(connection)
        build_mlflow = partial(
            MLflowClient,
            token=ClientToken(client, settings, own, events, rng) if connection.in_pod else own,
            rng=rng,
            ca_files=(settings.mlflow_ca_file,) if settings.mlflow_ca_file else (),
            observer=requests.observe,
        )
        mlflow, agents_mlflow = build_mlflow(), build_mlflow(policy=RETRIES)
        for opened in (mlflow, agents_mlflow):
            open_things.push_async_callback(opened.close)
        keycloak = None
        if settings.enable_client_registration:
            from kagenti_operator.controllers.authbridge import registration_feature

            keycloak = registration_feature.build_keycloak(settings, client, rng)
            open_things.push_async_callback(keycloak.close)
        dependencies = Dependencies(
            settings=settings,
            client=client,
            unfenced=plain,
            informers=SharedInformers(client, rng),
            mlflow=mlflow,
            agents_mlflow=agents_mlflow,
            events=events,
            unfenced_events=EventRecorder(plain, instance=instance, rng=rng, controller=manager_name),
            metrics=metrics,
            rng=rng,
            keycloak=keycloak,
        )
        features = build_features(dependencies)
        if asks_mlflow:
            metrics.registry.register(requests)
        await check_permissions(args, plain, dependencies, features)
        elector = _build_elector(plain, leadership, dependencies) if args.leader_elect else None
        manager = _build_manager(args, dependencies, features, leadership, elector, plain)
        log.info("Starting", namespace=settings.namespace, server=connection.server)
        try:
            await manager.run(stop)
        except LeadershipLost as lost:
            log.warning("Leadership lost, leaving so that another replica works on", reason=str(lost))
            return ExitStatus.FAILED
        except (CertificateError, CannotListenError) as error:
            raise UsageError(str(error)) from error
    return ExitStatus.DONE


async def check_permissions(
    args: argparse.Namespace, client: KubeClient, dependencies: Dependencies, features: Sequence[Feature]
) -> None:
    """Raise UsageError when a permission is missing without which the operator cannot work."""
    needed = [permission for feature in features for permission in feature.permissions]
    needed += permit_reads(dependencies.informers.all())
    if args.leader_elect:
        needed += permit_lease(dependencies.settings.own_namespace, dependencies.settings.lease)
    if metrics_server.is_secure(args):
        needed += permit_reviews()
    if missing := await find_missing(client, tuple(dict.fromkeys(needed))):
        raise UsageError(describe_missing(missing))


def _build_elector(client: KubeClient, leadership: Leadership, dependencies: Dependencies) -> LeaderElector:
    namespace, lease = dependencies.settings.own_namespace, dependencies.settings.lease
    return LeaderElector(
        LeaseClient(client, namespace, lease),
        LeaseSettings(name=lease, namespace=namespace, identity=process_identity()),
        leadership,
        recorder=dependencies.events,
        metrics=dependencies.metrics,
        rng=dependencies.rng,
    )


def _build_manager(
    args: argparse.Namespace,
    dependencies: Dependencies,
    features: Sequence[Feature],
    leadership: Leadership,
    elector: LeaderElector | None,
    plain: KubeClient,
) -> Manager:
    health, metrics = Health(), dependencies.metrics
    for collector in (collector for feature in features for collector in feature.metrics):
        metrics.registry.register(collector)
    informers = tuple(dict.fromkeys(informer for feature in features for informer in feature.informers))
    metrics.registry.register(InformerMetrics(informers))
    for feature in features:
        health.ready.update(feature.ready)
        health.notes.update(feature.notes)
    always: dict[str, Runnable] = {"events": dependencies.events.run}
    for feature in features:
        always.update(feature.always)
    if args.health_probe_bind_address:
        always["probes"] = Listener("probes", health.build_app(), args.health_probe_bind_address).run
    if args.metrics_bind_address:
        always["metrics"] = metrics_server.build_listener(args, metrics, plain).run
    return Manager(
        informers=informers,
        controllers=tuple(controller for feature in features for controller in feature.controllers),
        elector=elector,
        leadership=leadership,
        health=health,
        always=always,
        leading={name: run for feature in features for name, run in feature.leading.items()},
    )
