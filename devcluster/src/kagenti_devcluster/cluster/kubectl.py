"""kubectl as the administrator runs it, and the manifests that it applies."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
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
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")

type Manifest = dict[str, Any]


def read_manifests(*files: Traversable, values: Mapping[str, str] | None = None) -> list[Manifest]:
    """The objects of YAML files of one or more documents each, in their order.

    `values` are what placeholders such as `${system}` stand for; without, the text is taken as it is.
    """
    texts = (file.read_text() for file in files)
    filled = texts if values is None else (_fill(text, values) for text in texts)
    documents = (yaml.safe_load_all(text) for text in filled)
    return [document for stream in documents for document in stream if document]


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def packaged_manifests(*names: str, values: Mapping[str, str] = {}) -> list[Manifest]:
    """The objects of the stand-ins' files, by name without `.yaml`. Raises KeyError without a value."""
    directory = resources.files("kagenti_devcluster.standins") / "manifests"
    return read_manifests(*(directory / f"{name}.yaml" for name in names), values=values)


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
