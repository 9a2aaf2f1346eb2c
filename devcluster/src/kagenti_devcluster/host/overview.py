"""The cluster at a glance: its phase, components, addresses and pods."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kagenti_devcluster.cluster.kubectl import run_kubectl
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import Status

_GET_PODS = ("get", "pods", "--all-namespaces", "--request-timeout=20s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that `kagenti-devcluster status` shows; `pods` as the API server, `table` as kubectl."""

    phase: str
    message: str = ""
    profile: str = ""
    kubeconfig: str = ""
    addresses: dict[str, str] = field(default_factory=dict[str, str])
    components: dict[str, str] = field(default_factory=dict[str, str])
    pods: tuple[dict[str, Any], ...] = ()
    table: str = ""

    @classmethod
    async def take(cls, paths: StatePaths, status: Status | None, *, running: bool) -> "Overview":
        """Look at a cluster. Raises DevClusterError when it runs and its API server does not answer."""
        if status is None or not running:
            # What is in the file is of a cluster that was; one that was killed could not say so.
            ended = status is not None and status.phase in {"failed", "stopped"}
            return cls(phase="down", message=status.message if status and ended else "")
        pods, table = "[]", ""
        if status.phase == "ready":
            pods = await run_kubectl(paths.kubeconfig, *_GET_PODS, "--output=jsonpath={.items}")
            table = await run_kubectl(paths.kubeconfig, *_GET_PODS, "--output=wide")
        return cls(
            phase=status.phase,
            message=status.message,
            profile=status.profile,
            kubeconfig=str(paths.kubeconfig),
            addresses=status.addresses,
            components=status.components,
            pods=tuple(json.loads(pods)),
            table=table,
        )

    def to_json(self) -> dict[str, Any]:
        """The same for programs, without the table."""
        return {name: value for name, value in asdict(self).items() if name != "table"}


def render_overview(overview: Overview) -> str:
    """For people: the facts, the table, and what it lacks, why a pod does not run."""
    facts = {"cluster": overview.phase + (f" ({overview.profile})" if overview.profile else "")}
    facts |= overview.components
    if overview.kubeconfig:
        facts["KUBECONFIG"] = overview.kubeconfig
    facts |= overview.addresses
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {fact}" for name, fact in facts.items()]
    if overview.message:
        lines.append(overview.message)
    if overview.pods:
        lines += ["", overview.table.rstrip(), *_find_troubles(overview.pods)]
    return "\n".join(lines)


def _find_troubles(pods: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for pod in pods:
        meta, status = pod["metadata"], pod["status"]
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            if message := container["state"].get("waiting", {}).get("message"):
                yield f"{meta['namespace']}/{meta['name']}: {message}"
