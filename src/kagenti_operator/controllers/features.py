"""A feature: everything that one switch of the command line turns on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.registry import Collector as MetricsCollector

from kagenti_operator.controllers.permissions import Permission
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.control.manager import Runnable
from kagenti_operator.runtime.telemetry.health import Check


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What a feature owns; several may share an informer.

    `permissions`: what it surely writes; what its informers read follows from these. `always`: tasks of
    every replica. `leading`: tasks that run beside the controllers, on the replica that leads. `ready`: what
    `/readyz` waits for. `notes`: what it says though all is well.
    """

    name: str
    informers: tuple[Informer[Any], ...] = ()
    controllers: tuple[Controller[Any], ...] = ()
    permissions: tuple[Permission, ...] = ()
    metrics: tuple[MetricsCollector, ...] = ()
    always: Mapping[str, Runnable] = field(default_factory=dict[str, Runnable])
    ready: Mapping[str, Check] = field(default_factory=dict[str, Check])
    leading: Mapping[str, Runnable] = field(default_factory=dict[str, Runnable])
    notes: Mapping[str, Check] = field(default_factory=dict[str, Check])
