"""kubectl as the administrator runs it, and the manifests that it applies."""

import asyncio
from collections.abc import Iterable, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import yaml

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain.run import run_tool

FIELD_MANAGER = "kagenti-devcluster"
_APPLY = ("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-")
_ESTABLISHED = ("wait", "--for=condition=Established", "--timeout=60s", "-f", "-")
# Discovery has an established CustomResourceDefinition about a second later.
_DISCOVERY_SECONDS = 60.0
_POLL_SECONDS = 0.5

type Manifest = dict[str, Any]


def read_manifests(*files: Traversable) -> list[Manifest]:
    """The objects of YAML files of one or more documents each, in their order."""
    documents = (yaml.safe_load_all(file.read_text()) for file in files)
    return [document for stream in documents for document in stream if document]


def packaged_manifests(*names: str) -> list[Manifest]:
    """The objects of the stand-ins' files, by name without `.yaml`."""
    directory = resources.files("kagenti_devcluster.standins") / "manifests"
    return read_manifests(*(directory / f"{name}.yaml" for name in names))


async def run_kubectl(kubeconfig: Path, *arguments: str, manifests: Sequence[Manifest] = ()) -> str:
    """Run kubectl, which finds the manifests on stdin, and return what it prints. Raises DevClusterError."""
    stdin = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": manifests})
    # What it remembers of an API server may be about an earlier one at the same port.
    with TemporaryDirectory() as cache:
        environ = {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": cache}
        output, _ = await run_tool("kubectl", *arguments, environ=environ, stdin=stdin)
    return output


async def apply(kubeconfig: Path, manifests: Iterable[Manifest]) -> None:
    """Server-side apply objects of any kind, new kinds before all others. Raises DevClusterError."""
    definitions: list[Manifest] = []
    others: list[Manifest] = []
    for manifest in manifests:
        (definitions if manifest["kind"] == "CustomResourceDefinition" else others).append(manifest)
    if definitions:
        await run_kubectl(kubeconfig, *_APPLY, manifests=definitions)
        await run_kubectl(kubeconfig, *_ESTABLISHED, manifests=definitions)
    deadline = asyncio.get_running_loop().time() + _DISCOVERY_SECONDS
    while others:
        try:
            await run_kubectl(kubeconfig, *_APPLY, manifests=others)
        except DevClusterError as error:
            if "no matches for kind" not in str(error) or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return
