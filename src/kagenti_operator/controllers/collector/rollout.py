"""What rolls the collector: the annotations of its pod template.

One hash of its configuration, one of the certificates that it mounts, and the time of the last roll where its
token has to be renewed by another: some collectors keep the token that they started with (docs/rotation.md).
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from kagenti_operator import clock
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.settings import (
    CA_BUNDLE_KEY,
    CA_HASH_ANNOTATION,
    COLLECTOR,
    CONFIG_HASH_ANNOTATION,
    INGRESS_CA,
    SERVICE_CA,
    SERVICE_CA_KEY,
    TOKEN_ANNOTATION,
)
from kagenti_operator.kube.auth.credentials import SERVICE_ACCOUNT_FOLDER
from kagenti_operator.kube.auth.token_claims import read_pod_token_seconds
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ConfigError
from kagenti_operator.kube.objects.workloads import Container, Workload
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.otelcol.render import config_hash
from kagenti_operator.otelcol.versions import FIRST_TOKEN_RENEWING_VERSION, keeps_first_token
from kagenti_operator.runtime.control.applier import Applier, is_subset
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.collector-rollout")

# The part of a token's life after which the collector is rolled. The rest is for a rollout that takes its
# time, and for an operator that is away.
_ROLL_AT = 0.6
# What the admission of pods asks for, and the only request for which API servers may give longer tokens.
_ADMISSION_SECONDS = 3607


def build_rollout(collector: Workload, annotations: Mapping[str, str]) -> Mapping[str, Any]:
    """The pod-template annotations of the collector; the uid keeps an apply from creating a Deployment."""
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {
            "name": collector.metadata.name,
            "namespace": collector.metadata.namespace,
            "uid": collector.metadata.uid,
        },
        "spec": {"template": {"metadata": {"annotations": dict(annotations)}}},
    }


def hash_certificates(*bundles: str | None) -> str | None:
    """sha256 of the certificates that the collector mounts, or None where it mounts none."""
    present = [bundle for bundle in bundles if bundle]
    return hashlib.sha256("\n".join(present).encode()).hexdigest() if present else None


def collector_image(collector: Workload | None) -> str:
    """Image of the collector's container, empty where it cannot be told."""
    container = _container(collector) if collector else None
    return container.image if container else ""


def _container(collector: Workload) -> Container | None:
    containers = collector.spec.template.spec.containers
    return next((c for c in containers if c.name == COLLECTOR), containers[0] if containers else None)


def kept_token_seconds(collector: Workload, pod_token_seconds: float | None) -> float | None:
    """How long the token lives that the collector keeps; None where it renews it, or nobody can tell.

    `pod_token_seconds`: how long tokens live that pods of this cluster get unasked.
    """
    if not keeps_first_token(collector_image(collector)):
        return None
    asked = _asked_seconds(collector)
    return pod_token_seconds if asked in (None, _ADMISSION_SECONDS) else asked


def _asked_seconds(collector: Workload) -> int | None:
    """What a volume of the pod template asks for in place of the one that admission would add."""
    container = _container(collector)
    mounts = (container.volume_mounts or ()) if container else ()
    names = {mount.name for mount in mounts if mount.mount_path.rstrip("/") == str(SERVICE_ACCOUNT_FOLDER)}
    for volume in collector.spec.template.spec.volumes or ():
        sources = (volume.projected.sources or ()) if volume.projected else ()
        for token in (source.service_account_token for source in sources):
            if volume.name in names and token is not None and token.path == "token":
                return token.expiration_seconds
    return None


def seconds_to_roll(collector: Workload, token_seconds: float, now: datetime) -> float:
    """In how many seconds the collector is to be rolled for a new token; zero or less is now.

    Now as well where it is not known when it last was, or said to be in the future: its token may be about to
    run out.
    """
    try:
        rolled_at = datetime.fromisoformat(collector.spec.template.annotations.get(TOKEN_ANNOTATION, ""))
        age = (now - rolled_at).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return token_seconds * _ROLL_AT - age if age >= 0 else 0.0


def annotate(
    collector: Workload, hashes: Mapping[str, str], token_seconds: float | None, now: datetime
) -> Mapping[str, str]:
    """The annotations to have: the time of the last roll stays until the collector is rolled anew."""
    if token_seconds is None:
        return hashes
    have = collector.spec.template.annotations
    stays = is_subset(hashes, have) and seconds_to_roll(collector, token_seconds, now) > 0
    rolled_at = have[TOKEN_ANNOTATION] if stays else _timestamp(now)
    return {**hashes, TOKEN_ANNOTATION: rolled_at}


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class CollectorRollout:
    """The wanted annotations of the collector's pod template, from the cluster's facts, and their writing."""

    def __init__(self, client: KubeClient, cluster: Cluster, events: EventRecorder) -> None:
        self._connection = client.connection
        self._applier = Applier(client)
        self._cluster = cluster
        self._events = events

    def build(self, text: str, destination: MLflowDestination | None) -> Mapping[str, Any] | None:
        """What to apply for that configuration; None where there is no collector."""
        collector = self._cluster.collector
        if collector is None or collector.metadata.deletion_timestamp:
            return None
        hashes = {CONFIG_HASH_ANNOTATION: config_hash(text)}
        if ca_hash := self._hash_certificates():
            hashes[CA_HASH_ANNOTATION] = ca_hash
        token_seconds = self._token_seconds(collector, destination)
        return build_rollout(collector, annotate(collector, hashes, token_seconds, clock.now()))

    async def ensure(self, rollout: Mapping[str, Any]) -> None:
        """Apply what `build` returned, where that differs. Raises KubeError."""
        collector = self._cluster.collector
        if await self._applier.ensure(DEPLOYMENTS, rollout, collector) and collector:
            self._tell(collector, rollout["spec"]["template"]["metadata"]["annotations"])

    def seconds_to_renewal(self, destination: MLflowDestination | None) -> float | None:
        """In how many seconds the collector has to be rolled for a new token; None where that is not known.

        Where it has just been rolled, its Deployment's change tells anew.
        """
        collector = self._cluster.collector
        seconds = self._token_seconds(collector, destination) if collector else None
        if collector is None or seconds is None:
            return None
        left = seconds_to_roll(collector, seconds, clock.now())
        return left if left > 0 else None

    def _hash_certificates(self) -> str | None:
        cluster = self._cluster
        service_ca = cluster.config_map(SERVICE_CA) if cluster.openshift else None
        bundle = cluster.config_map(INGRESS_CA)
        return hash_certificates(
            (service_ca.data or {}).get(SERVICE_CA_KEY) if service_ca else None,
            (bundle.data or {}).get(CA_BUNDLE_KEY) if bundle else None,
        )

    def _token_seconds(self, collector: Workload, destination: MLflowDestination | None) -> float | None:
        # Elsewhere than on OpenShift it gets its tokens by oauth2client.
        if destination is None or not self._cluster.openshift:
            return None
        try:
            own = read_pod_token_seconds(self._connection.token())
        except ConfigError:
            own = None
        return kept_token_seconds(collector, own)

    def _tell(self, collector: Workload, wanted: Mapping[str, str]) -> None:
        before = collector.spec.template.annotations
        if {key for key, value in wanted.items() if before.get(key) != value} != {TOKEN_ANNOTATION}:
            return
        renewing = ".".join(map(str, FIRST_TOKEN_RENEWING_VERSION))
        message = (
            f"Rolled the collector for a new token: {collector_image(collector)} keeps the one that it "
            "started with, and MLflow refuses that once it has expired. Collectors from "
            f"{renewing} on read it again."
        )
        log.info(message, previously=before.get(TOKEN_ANNOTATION))
        self._events.normal(ObjectRef.of(DEPLOYMENTS, collector), "CollectorTokenRenewed", message)
