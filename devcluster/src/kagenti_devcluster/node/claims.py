"""Persistent volume claims: each is bound at once, to a directory in the state directory."""

import asyncio
from pathlib import Path

import structlog

from kagenti_devcluster.node.environ import SourceMissing
from kagenti_devcluster.node.objects import CLAIMS, Claim
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.runtime.cache.informer import Informer

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
_BOUND = "Bound"


class ClaimBinder:
    """Marks claims as bound, and knows their directories."""

    def __init__(self, client: KubeClient, claims: Informer[Claim], directory: Path):
        self._client = client
        self._claims = claims
        self._directory = directory
        self._waiting: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        claims.subscribe(self._on_claim)

    def _on_claim(self, _: Claim | None, new: Claim | None) -> None:
        if new is not None and new.status.phase != _BOUND:
            self._waiting[new.metadata.namespace, new.metadata.name] = None
            self._wake.set()

    def directory_of(self, namespace: str, name: str) -> Path:
        """A claim's directory, made when it is first asked for. Raises SourceMissing until it is bound."""
        claim = self._claims.store.get(namespace, name)
        if claim is None:
            raise SourceMissing(f"PersistentVolumeClaim {name!r} does not exist")
        if claim.status.phase != _BOUND:
            raise SourceMissing(f"PersistentVolumeClaim {name!r} is not bound yet")
        # A claim of the same name that is made anew has nothing of the old one.
        directory = self._directory / namespace / f"{name}-{claim.metadata.uid}"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    async def run(self) -> None:
        """Bind claims until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                namespace, name = next(iter(self._waiting))
                del self._waiting[namespace, name]
                claim = self._claims.store.get(namespace, name)
                if claim is not None and claim.status.phase != _BOUND:
                    await self._bind(claim)

    async def _bind(self, claim: Claim) -> None:
        metadata = claim.metadata
        requests = (claim.spec.resources or {}).get("requests", {})
        status = {
            "phase": _BOUND,
            "accessModes": list(claim.spec.access_modes or ()),
            "capacity": {"storage": requests.get("storage", "1Gi")},
        }
        try:
            await self._client.patch_status(CLAIMS, metadata.name, status, metadata.namespace)
        except ApiError as error:
            if error.not_found:
                return
            await self._try_again(claim, error)
        except KubeError as error:
            await self._try_again(claim, error)

    async def _try_again(self, claim: Claim, error: KubeError) -> None:
        log.warning("A claim could not be bound, will try again", error=str(error))
        await asyncio.sleep(_RETRY_SECONDS)
        self._waiting[claim.metadata.namespace, claim.metadata.name] = None
        self._wake.set()
