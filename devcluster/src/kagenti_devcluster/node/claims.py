"""Persistent volume claims: each is bound at once, to a directory in the state directory."""

import random
from pathlib import Path

from kagenti_devcluster.node.environ import SourceMissing
from kagenti_devcluster.node.objects import CLAIMS, Claim
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import ObjectKey, key_of
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

_BOUND = "Bound"


class ClaimBinder:
    """Marks claims as bound, and knows their directories."""

    def __init__(
        self,
        client: KubeClient,
        claims: Informer[Claim],
        directory: Path,
        *,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._claims = claims
        self._directory = directory
        self.controller = build_controller("claims", self._reconcile, metrics, rng)
        self.controller.watches(claims, lambda event: (key_of(event.object),))

    def directory_of(self, namespace: str, name: str) -> Path:
        """A claim's directory, made when it is first asked for. Raises SourceMissing until it is bound."""
        claim = self._claims.cache.get(namespace, name)
        if claim is None:
            raise SourceMissing(f"PersistentVolumeClaim {name!r} does not exist")
        if claim.status.phase != _BOUND:
            raise SourceMissing(f"PersistentVolumeClaim {name!r} is not bound yet")
        # A claim of the same name that is made anew has nothing of the old one.
        directory = self._directory / namespace / f"{name}-{claim.metadata.uid}"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    async def _reconcile(self, key: ObjectKey) -> None:
        claim = self._claims.cache.get(*key)
        if claim is None or claim.status.phase == _BOUND:
            return
        requests = (claim.spec.resources or {}).get("requests", {})
        status = {
            "phase": _BOUND,
            "accessModes": list(claim.spec.access_modes or ()),
            "capacity": {"storage": requests.get("storage", "1Gi")},
        }
        try:
            await self._client.patch_status(CLAIMS, claim.metadata.name, status, claim.metadata.namespace)
        except ApiError as error:
            if not error.not_found:
                raise
