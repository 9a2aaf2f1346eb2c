"""Which objects wake which controller: the operator's wiring diagram."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kagenti_operator.controllers.agents.controller import AgentsController
from kagenti_operator.controllers.cluster import Cluster, namespace_of_key
from kagenti_operator.controllers.collector.access import AccessController
from kagenti_operator.controllers.collector.config import CollectorConfigController
from kagenti_operator.controllers.collector.experiment import ExperimentController
from kagenti_operator.controllers.collector.ingress_ca import IngressCAController
from kagenti_operator.controllers.metrics import Observation
from kagenti_operator.controllers.mlflow.console_link import ConsoleLinkController
from kagenti_operator.controllers.mlflow.operand import OperandController
from kagenti_operator.controllers.mlflow.ui_config import UIConfigController
from kagenti_operator.controllers.openshift import PlatformController
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.controller import Controller, Handler, Reconcile
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.metrics import Metrics

# Enough to keep the API server busy with many small grants.
ACCESS_WORKERS = 16
# At most so many calls to MLflow at once.
AGENT_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every controller may use."""

    client: KubeClient
    cluster: Cluster
    mlflow: MLflowClient
    agents_mlflow: MLflowClient
    events: EventRecorder
    metrics: Metrics
    observation: Observation
    rng: random.Random

    @property
    def settings(self) -> Settings:
        """How the operator was started."""
        return self.cluster.settings

    def controller(self, name: str, reconcile: Reconcile, **options: Any) -> Controller:
        """A controller of the runtime; MLflow's refusals are expected failures."""
        return Controller(
            name, reconcile, metrics=self.metrics, rng=self.rng, expected=(MLflowError,), **options
        )


def build_controllers(parts: Parts) -> tuple[Controller, ...]:
    """Wire the controllers of the enabled features."""
    # The key of each controller with one key, for facts that several of them depend on.
    wake: list[Callable[[], None]] = []
    built: list[Controller] = [_build_platform(parts, wake)]
    experiment: ExperimentController | None = None
    if parts.settings.enable_mlflow:
        experiment, controller = _build_experiment(parts, wake)
        built += [controller, _build_operand(parts), _build_access(parts), _build_agents(parts)]
        built.append(_build_ui_config(parts))
        if parts.settings.enable_console_link:
            built.append(_build_console_link(parts))
    if parts.settings.enable_otel_bootstrap:
        built += [_build_ingress_ca(parts, wake), _build_collector_config(parts, experiment, wake)]
    return tuple(built)


def _wake_all(wake: list[Callable[[], None]]) -> None:
    for enqueue in wake:
        enqueue()


def _singleton(controller: Controller, key: str, *informers: Informer[Any]) -> None:
    """Any change of these informers' objects wakes the only key; and so does the start."""

    def on_change(old: KubeObject | None, new: KubeObject | None) -> None:
        del old, new
        controller.enqueue(key)

    _watch_all(controller, on_change, *informers)
    controller.enqueue(key)


def _watch_all(controller: Controller, handler: Handler[Any], *informers: Informer[Any]) -> None:
    for informer in informers:
        controller.watches(informer, handler)


def _build_platform(parts: Parts, wake: list[Callable[[], None]]) -> Controller:
    logic = PlatformController(parts.client, parts.cluster, on_change=partial(_wake_all, wake))
    controller = parts.controller(logic.name, logic.reconcile)
    controller.enqueue(logic.KEY)

    def on_crd(old: KubeObject | None, new: KubeObject | None) -> None:
        if logic.on_crd(old, new):
            controller.enqueue(logic.KEY)

    # Replicas that wait for the lease follow CRDs too, so that they can take over at once.
    parts.cluster.crds.subscribe(on_crd)
    return controller


def _build_operand(parts: Parts) -> Controller:
    cluster = parts.cluster
    logic = OperandController(parts.client, cluster, parts.events)
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(controller, logic.KEY, cluster.data_science_clusters, cluster.mlflows)
    # A CRD without objects is news here: an operand may have to be made.
    cluster.mlflows.subscribe_presence(partial(controller.enqueue, logic.KEY))
    return controller


def _build_access(parts: Parts) -> Controller:
    cluster = parts.cluster

    def enqueue(namespace: str) -> None:
        controller.enqueue(namespace)

    logic = AccessController(parts.client, cluster, parts.events, enqueue)
    controller = parts.controller(logic.name, logic.reconcile, workers=ACCESS_WORKERS)
    for informer in cluster.agents.values():
        controller.watches(informer, logic.on_agent)
    controller.watches(cluster.collector_bindings, logic.on_binding)
    _watch_all(
        controller,
        logic.on_platform,
        cluster.data_science_clusters,
        cluster.mlflow_endpoints,
        cluster.integration_role,
        cluster.edit_role,
        cluster.own_role,
        cluster.mlflows,
    )
    return controller


def _build_experiment(
    parts: Parts, wake: list[Callable[[], None]]
) -> tuple[ExperimentController, Controller]:
    cluster = parts.cluster
    logic = ExperimentController(
        cluster, parts.mlflow, parts.events, rng=parts.rng, on_change=partial(_wake_all, wake)
    )
    parts.observation.experiment_known = lambda: logic.resolved is not None
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(controller, logic.KEY, cluster.mlflows, cluster.mlflow_endpoints)
    return logic, controller


def _build_ingress_ca(parts: Parts, wake: list[Callable[[], None]]) -> Controller:
    cluster = parts.cluster
    logic = IngressCAController(parts.client, cluster, parts.events)
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(
        controller,
        logic.KEY,
        cluster.ingress_source,
        cluster.root_source,
        cluster.ingress_ca_map,
        cluster.deployments,
    )
    wake.append(partial(controller.enqueue, logic.KEY))
    return controller


def _build_collector_config(
    parts: Parts, experiment: ExperimentController | None, wake: list[Callable[[], None]]
) -> Controller:
    cluster = parts.cluster
    logic = CollectorConfigController(
        parts.client,
        cluster,
        parts.events,
        resolved=lambda: experiment.resolved if experiment else None,
    )
    parts.observation.config_since = lambda: logic.in_place_since
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(
        controller,
        logic.KEY,
        cluster.mlflows,
        # Whether the workspace's access is one to wait for, and whether it is the right one.
        cluster.data_science_clusters,
        cluster.integration_role,
        cluster.edit_role,
        cluster.phoenix_service,
        cluster.deployments,
        cluster.collector_config_map,
        cluster.ingress_ca_map,
        cluster.service_ca_map,
        cluster.ingress_source,
        cluster.root_source,
    )

    def on_access(old: KubeObject | None, new: KubeObject | None) -> None:
        if logic.concerns(old, new):
            controller.enqueue(logic.KEY)

    for informer in (cluster.collector_bindings, *cluster.agents.values()):
        controller.watches(informer, on_access)
    wake.append(partial(controller.enqueue, logic.KEY))
    return controller


def _build_agents(parts: Parts) -> Controller:
    cluster = parts.cluster

    def enqueue(key: str) -> None:
        controller.enqueue(key)

    logic = AgentsController(
        parts.client,
        cluster,
        parts.agents_mlflow,
        parts.events,
        enqueue=enqueue,
        rng=parts.rng,
        max_rolls=cluster.settings.max_concurrent_rolls,
    )
    controller = parts.controller(logic.name, logic.reconcile, workers=AGENT_WORKERS, bucket=namespace_of_key)
    for kind, informer in cluster.agents.items():
        controller.watches(informer, partial(logic.on_agent, kind))
    controller.watches(cluster.roles, logic.on_grant)
    controller.watches(cluster.agent_bindings, logic.on_grant)
    controller.watches(cluster.mlflows, logic.on_platform)
    return controller


def _build_ui_config(parts: Parts) -> Controller:
    cluster = parts.cluster
    logic = UIConfigController(parts.client, cluster, parts.events)
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(controller, logic.KEY, cluster.mlflows, cluster.ui_config_map)
    return controller


def _build_console_link(parts: Parts) -> Controller:
    cluster = parts.cluster
    logic = ConsoleLinkController(parts.client, cluster, parts.events)
    controller = parts.controller(logic.name, logic.reconcile)
    _singleton(controller, logic.KEY, cluster.mlflows, cluster.console_links, cluster.console_link_role)
    cluster.console_links.subscribe_presence(partial(controller.enqueue, logic.KEY))
    return controller
