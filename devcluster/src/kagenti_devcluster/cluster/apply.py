"""Applies manifests of whatever kinds, in their order, and waits for what they define.

Unlike `runtime.applier` it needs no typed model: as kubectl does, it asks discovery for the path of a kind.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
import yaml

from kagenti_devcluster.errors import DevClusterError
from kagenti_operator.kube.client import APPLY_PATCH, KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeStruct

FIELD_MANAGER = "kagenti-devcluster"
# A new CustomResourceDefinition is served about a second later; nothing tells when.
_SERVED_SECONDS = 60.0
_POLL_SECONDS = 0.1

type Manifest = dict[str, Any]


class _Served(KubeStruct, frozen=True):
    name: str
    kind: str
    namespaced: bool


class _ServedList(KubeStruct, frozen=True):
    resources: tuple[_Served, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of one or more YAML files, in their order."""

    objects: tuple[Manifest, ...]

    @classmethod
    def read(cls, *files: Traversable) -> "Manifests":
        """Read YAML files of one or more documents each; empty documents do not count."""
        documents = (yaml.safe_load_all(file.read_text()) for file in files)
        return cls(tuple(document for stream in documents for document in stream if document))

    @classmethod
    def packaged(cls, *names: str) -> "Manifests":
        """Read files of this package's folder `manifests`, by name without `.yaml`."""
        folder = resources.files("kagenti_devcluster.standins") / "manifests"
        return cls.read(*(folder / f"{name}.yaml" for name in names))


class ManifestApplier:
    """Server-side apply for any kind that the API server serves."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._paths: dict[tuple[str, str], _Served] = {}

    async def apply(self, manifests: Manifests | Iterable[Manifest]) -> None:
        """Apply each object; after a CustomResourceDefinition wait until its kind is served.

        Raises KubeError, and DevClusterError where a kind is not served within a minute.
        """
        objects = manifests.objects if isinstance(manifests, Manifests) else manifests
        for manifest in objects:
            await self._apply(manifest)
            if manifest["kind"] == "CustomResourceDefinition":
                await self._wait_served(manifest["spec"])

    async def delete(self, manifest: Manifest) -> None:
        """Delete the object if it is there."""
        try:
            await self._client.raw("DELETE", await self._path(manifest))
        except ApiError as error:
            if not error.not_found:
                raise

    async def dry_run(self, manifest: Manifest) -> Manifest:
        """Return what the API server would store for a new object, admission included."""
        path = (await self._path(manifest)).rpartition("/")[0]
        answer = await self._client.raw(
            "POST", path, params={"dryRun": "All"}, body=msgspec.json.encode(manifest)
        )
        return msgspec.json.decode(answer)

    async def _apply(self, manifest: Manifest) -> None:
        await self._client.raw(
            "PATCH",
            await self._path(manifest),
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=msgspec.json.encode(manifest),
            content_type=APPLY_PATCH,
        )

    async def _path(self, manifest: Manifest) -> str:
        api_version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        served = await self._served(api_version, kind)
        parts = ["/apis" if "/" in api_version else "/api", api_version]
        if served.namespaced:
            parts += ["namespaces", metadata.get("namespace", "default")]
        return "/".join([*parts, served.name, metadata["name"]])

    async def _served(self, api_version: str, kind: str) -> _Served:
        if (api_version, kind) not in self._paths:
            prefix = "/apis" if "/" in api_version else "/api"
            answer = await self._client.raw("GET", f"{prefix}/{api_version}")
            for served in msgspec.json.decode(answer, type=_ServedList).resources:
                if "/" not in served.name:
                    self._paths[api_version, served.kind] = served
        try:
            return self._paths[api_version, kind]
        except KeyError:
            raise DevClusterError(f"the cluster does not serve {kind} of {api_version}") from None

    async def _wait_served(self, spec: Manifest) -> None:
        plural, kind = spec["names"]["plural"], spec["names"]["kind"]
        # Its scope may have changed since it was asked for last.
        for version in spec["versions"]:
            self._paths.pop((f"{spec['group']}/{version['name']}", kind), None)
        paths = [f"/apis/{spec['group']}/{v['name']}/{plural}" for v in spec["versions"] if v["served"]]
        try:
            async with asyncio.timeout(_SERVED_SECONDS):
                for path in paths:
                    await self._wait_answer(path)
        except TimeoutError:
            raise DevClusterError(f"{plural}.{spec['group']} was not served within a minute") from None

    async def _wait_answer(self, path: str) -> None:
        while True:
            if await self._answers(path):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _answers(self, path: str) -> bool:
        try:
            await self._client.raw("GET", path, params={"limit": "1"})
        except ApiError as error:
            # 503 while the handler is being made.
            if error.not_found or error.status == 503:
                return False
            raise
        return True
