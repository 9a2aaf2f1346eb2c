"""What rolls the collector: the annotations of its pod template.

One hash of its configuration, one of the certificates that it mounts, and the time of the last roll where its
token has to be renewed by another: some collectors keep the token that they started with (docs/rotation.md).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from kagenti_operator import clock, contract
from kagenti_operator.controllers.collector.facts import CollectorFacts, read_key
from kagenti_operator.controllers.collector.workload import collector_image, find_container
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.auth.token_claims import read_pod_token_seconds
from kagenti_operator.kube.errors import ConfigError
from kagenti_operator.kube.manifests import Manifest, build_patch
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.otelcol.render import config_hash
from kagenti_operator.otelcol.versions import FIRST_TOKEN_RENEWING_VERSION, keeps_first_token
from kagenti_operator.runtime.control.applier import Applier, is_subset
from kagenti_operator.runtime.telemetry.events import ObjectRef

log = structlog.get_logger(__name__)

# The part of a token's life after which the collector is rolled. The rest is for a rollout that takes its
# time, and for an operator that is away.
_ROLL_AT = 0.6
# What the admission of pods asks for, and the only request for which API servers may give longer tokens.
_ADMISSION_SECONDS = 3607


def build_rollout(collector: Workload, annotations: Mapping[str, str]) -> Manifest:
    """Build the pod-template annotations of the collector."""
    template = {"metadata": {"annotations": dict(annotations)}}
    return build_patch(DEPLOYMENTS, collector, spec={"template": template})


def hash_certificates(*bundles: str | None) -> str | None:
    """sha256 of the certificates that the collector mounts, or None where it mounts none."""
    present = [bundle for bundle in bundles if bundle]
    return hashlib.sha256("\n".join(present).encode()).hexdigest() if present else None


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
    container = find_container(collector)
    mounts = (container.volume_mounts or ()) if container else ()
    names = {
        mount.name for mount in mounts if mount.mount_path.rstrip("/") == contract.SERVICE_ACCOUNT_FOLDER
    }
    for volume in collector.spec.template.spec.volumes or ():
        sources = (volume.projected.sources or ()) if volume.projected else ()
        for token in (source.service_account_token for source in sources):
            if volume.name in names and token is not None and token.path == "token":
                return token.expiration_seconds
    return None


def seconds_to_roll(rolled_at: str | None, token_seconds: float, now: datetime) -> float:
    """In how many seconds the collector is to be rolled for a new token; zero or less is now.

    `rolled_at`: when it last was, as its annotation has it. Now as well where that is not known, or said to
    be in the future: its token may be about to run out.
    """
    try:
        age = (now - datetime.fromisoformat(rolled_at or "")).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return token_seconds * _ROLL_AT - age if age >= 0 else 0.0


def annotate(
    have: Mapping[str, str],
    hashes: Mapping[str, str],
    token_annotation: str,
    token_seconds: float | None,
    now: datetime,
    *,
    written: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """The annotations to have: the time of the last roll stays until the collector is rolled anew.

    `written`: what was written last. Whoever takes it out again gets the same back, and not another time.
    """
    if token_seconds is None:
        return hashes
    for known in (have, written or {}):
        rolled_at = known.get(token_annotation)
        if rolled_at and is_subset(hashes, known) and seconds_to_roll(rolled_at, token_seconds, now) > 0:
            return {**hashes, token_annotation: rolled_at}
    return {**hashes, token_annotation: now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


@dataclass(frozen=True)
class Rollout:
    """What to apply, and in how many seconds the collector has to be rolled for a new token.

    None where that is not known. Where it has just been rolled, its Deployment's change brings the answer.
    """

    manifest: Manifest
    seconds_to_renewal: float | None


class CollectorRollout:
    """The wanted annotations of the collector's pod template, and their writing."""

    def __init__(self, dependencies: Dependencies, facts: CollectorFacts) -> None:
        self._names = dependencies.settings.names
        self._connection = dependencies.client.connection
        self._applier = Applier(dependencies.client)
        self._events = dependencies.events
        self._facts = facts
        self._written: Mapping[str, str] = {}

    def build(self, text: str, *, token: bool) -> Rollout | None:
        """Build what to apply for that configuration; None where there is no collector.

        `token`: with it the collector shows MLflow its own.
        """
        collector = self._facts.collector
        if collector is None or collector.metadata.deletion_timestamp:
            return None
        hashes = {self._names.config_hash_annotation: config_hash(text)}
        if ca_hash := self._hash_certificates():
            hashes[self._names.ca_hash_annotation] = ca_hash
        seconds = self._token_seconds(collector) if token else None
        have = collector.spec.template.annotations
        annotations = annotate(
            have, hashes, self._names.token_annotation, seconds, clock.now(), written=self._written
        )
        renewal = None
        if seconds is not None:
            left = seconds_to_roll(have.get(self._names.token_annotation), seconds, clock.now())
            renewal = left if left > 0 else None
        return Rollout(build_rollout(collector, annotations), renewal)

    async def ensure(self, rollout: Manifest) -> None:
        """Apply the manifest that `build` returned, where that differs. Raises KubeError."""
        collector = self._facts.collector
        if await self._applier.ensure(DEPLOYMENTS, rollout, collector) and collector:
            self._written = rollout["spec"]["template"]["metadata"]["annotations"]
            self._record(collector, self._written)

    def _hash_certificates(self) -> str | None:
        facts = self._facts
        return hash_certificates(
            read_key(facts.service_ca, contract.SERVICE_CA_KEY) if facts.openshift.value else None,
            read_key(facts.ingress_ca, contract.CA_BUNDLE_KEY),
        )

    def _token_seconds(self, collector: Workload) -> float | None:
        try:
            own = read_pod_token_seconds(self._connection.token())
        except ConfigError:
            own = None
        return kept_token_seconds(collector, own)

    def _record(self, collector: Workload, wanted: Mapping[str, str]) -> None:
        before = collector.spec.template.annotations
        changed = {key for key, value in wanted.items() if before.get(key) != value}
        if changed != {self._names.token_annotation}:
            return
        renewing = ".".join(map(str, FIRST_TOKEN_RENEWING_VERSION))
        message = (
            f"Rolled the collector for a new token: {collector_image(collector)} keeps the one that it "
            "started with, and MLflow refuses that once it has expired. Collectors from "
            f"{renewing} on read it again."
        )
        log.info(message, previously=before.get(self._names.token_annotation))
        self._events.normal(ObjectRef.of(DEPLOYMENTS, collector), "CollectorTokenRenewed", message)
