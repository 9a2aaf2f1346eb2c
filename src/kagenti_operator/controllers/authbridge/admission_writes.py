"""What admission writes beside the pod: the workload's files, and the ServiceAccount that it is given.

Only where the caches lack something a request is sent, and before the first one the API server is asked
whether the pod's owner is what the review says: anybody who reaches the webhook can send it a review, and
must not change another workload's file by that.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from kagenti_operator import contract
from kagenti_operator.controllers.agents.keys import build_key
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.namespaces import EnabledNamespaces
from kagenti_operator.controllers.authbridge.outcome import Injected
from kagenti_operator.controllers.authbridge.pod import list_at, mapping_at
from kagenti_operator.controllers.authbridge.workload import Workload
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.authbridge.workload_files import build_files, is_for
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.permissions import Permission, permit
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.manifests import Manifest, build_manifest, build_owner
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject, LabelledObject
from kagenti_operator.kube.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    REPLICA_SETS,
    SANDBOX_NAMES,
    SERVICE_ACCOUNTS,
    STATEFUL_SET_NAMES,
    Resource,
)
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection

log = structlog.get_logger(__name__)

# What the API server takes for an object's name, less what is put before it.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?")

type OwnerReference = Mapping[str, str]


class NotTheOwner(Exception):
    """What a pod names as its owner is not in the cluster: what would be written is not asked for."""


class AdmissionWrites:
    """The files and ServiceAccounts of all workloads, and which are missing."""

    def __init__(
        self, dependencies: Dependencies, namespaces: EnabledNamespaces, workloads: WorkloadFacts
    ) -> None:
        self.accounts = dependencies.informers.get(Selection(resource=SERVICE_ACCOUNTS))
        self._names = dependencies.settings.names
        self._namespaces = namespaces
        self._workloads = workloads
        self._client: KubeClient = dependencies.unfenced

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All that is looked at."""
        workloads = (it for it in self._workloads.informers if not it.deferrable)
        return (self.accounts, *workloads)

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What writing takes, and asking for a pod's owner."""
        return (
            *permit(CONFIG_MAPS, "create", "patch"),
            *permit(SERVICE_ACCOUNTS, "create"),
            *permit(REPLICA_SETS, "get"),
            *permit(STATEFUL_SET_NAMES, "get"),
        )

    def identify(self, namespace: str, workload: Workload) -> Workload:
        """The workload with the uid of a Deployment that is in the cache."""
        if workload.kind != "Deployment" or workload.uid:
            return workload
        found = self._workloads.get(build_key(workload.kind, namespace, workload.name))
        return replace(workload, uid=found.metadata.uid) if found else workload

    def has_account(self, namespace: str, name: str) -> bool:
        """Whether the ServiceAccount is there."""
        return (namespace, name) in self.accounts.cache

    async def ensure(self, namespace: str, pod: Pod, workload: Workload, outcome: Injected) -> None:
        """Write what is missing. Raises KubeError, and NotTheOwner where the pod is not what it says."""
        account = outcome.service_account
        needs_account = account is not None and not self.has_account(namespace, account)
        files = build_files(self._names, namespace, workload.name, outcome, None)
        missing = [file for file in files if not self._is_there(file, workload, outcome)]
        if not missing and not needs_account:
            return
        owner = await self._confirm(namespace, pod, workload)
        missing_names = {file["metadata"]["name"] for file in missing}
        for file in build_files(self._names, namespace, workload.name, outcome, owner):
            if file["metadata"]["name"] in missing_names:
                await self._write(file, owner)
        if account is not None and needs_account:
            await self._make_account(namespace, account)

    def _current(self, file: Manifest) -> ConfigMap | None:
        return self._workloads.file(file["metadata"]["namespace"], file["metadata"]["name"])

    def _is_there(self, file: Manifest, workload: Workload, outcome: Injected) -> bool:
        """Whether a file is there for such pods. One of a workload that was made anew goes with the old."""
        current = self._current(file)
        if current is None or not is_for(self._names, current, outcome):
            return False
        owners = current.metadata.owner_references
        return not workload.uid or any(owner.uid == workload.uid for owner in owners)

    async def _write(self, file: Manifest, owner: OwnerReference | None) -> None:
        current = self._current(file)
        if owner is None and current is not None and current.metadata.owner_references:
            raise NotTheOwner(
                f"ConfigMap {current.metadata.name} belongs to a workload that the pod is not of: give the "
                "pod another name, so that it has a file of its own"
            )
        manager = self._names.prefixed(contract.AUTHBRIDGE_MANAGER)
        applied = await self._client.apply(CONFIG_MAPS, file, field_manager=manager)
        _log("Applied", CONFIG_MAPS, applied)

    async def _make_account(self, namespace: str, name: str) -> None:
        label = {self._names.key(contract.AUTHBRIDGE_MANAGED_LABEL): contract.AUTHBRIDGE_MANAGED}
        body = build_manifest(
            SERVICE_ACCOUNTS, name, namespace, labels={**self._names.managed_labels, **label}
        )
        try:
            created = await self._client.create(SERVICE_ACCOUNTS, body)
        except ApiError as error:
            # One that exists is used, whoever made it.
            if not error.already_exists:
                raise
        else:
            _log("Created", SERVICE_ACCOUNTS, created)

    async def _confirm(self, namespace: str, pod: Pod, workload: Workload) -> OwnerReference | None:
        """Ask the API server for the pod's owner, and return who is to own the files."""
        if not await self._is_enabled(namespace):
            raise NotTheOwner(f"namespace {namespace} has not the label {self._namespaces.selector}")
        controller = controller_of(pod)
        resource: Resource[Any]
        match workload.kind, controller:
            case "", _:
                return None
            case "Deployment", _:
                resource = REPLICA_SETS
            case "StatefulSet", _:
                resource = STATEFUL_SET_NAMES
            case "Sandbox", {"apiVersion": str(version)} if version in _SANDBOXES:
                resource = _SANDBOXES[version]
            case _:
                raise NotTheOwner(f"nothing is written for a pod of {_describe(controller)}")
        name = str(controller.get("name"))
        # It becomes part of a path.
        found = await self._client.get(resource, name, namespace) if is_name(name) else None
        if found is None or found.metadata.uid != controller.get("uid"):
            raise NotTheOwner(
                f"the pod names {_describe(controller)} as its owner, which the API server does not know"
            )
        return _deployment_of(found, workload) if resource is REPLICA_SETS else build_owner(resource, found)

    async def _is_enabled(self, namespace: str) -> bool:
        if self._namespaces.get(namespace) is not None:
            return True
        # The label may be younger than what the cache knows.
        selector = self._namespaces.selector
        named = f"metadata.name={namespace}"
        page = await self._client.list_page(NAMESPACES, label_selector=selector, field_selector=named)
        return bool(page.items)


def controller_of(pod: Pod) -> Mapping[str, Any]:
    """The owner reference of a pod's controller, empty where it has none."""
    owners = list_at(mapping_at(pod, "metadata"), "ownerReferences")
    return next((owner for owner in owners if owner.get("controller")), dict[str, Any]())


def _deployment_of(replica_set: LabelledObject, workload: Workload) -> OwnerReference | None:
    """The Deployment of a ReplicaSet; None where it let go of it."""
    owners = replica_set.metadata.owner_references
    found = next((it for it in owners if (it.kind, it.name) == (workload.kind, workload.name)), None)
    return msgspec.to_builtins(found) if found else None


def is_name(text: str) -> bool:
    """Whether it can be an object's name, and a part of one."""
    return _NAME.fullmatch(text) is not None


def _describe(controller: Mapping[str, Any]) -> str:
    return f"{controller.get('kind')} {controller.get('name')}"


def _log(message: str, resource: Resource[Any], obj: KubeObject) -> None:
    log.info(message, kind=resource.kind, namespace=obj.metadata.namespace, name=obj.metadata.name)


_SANDBOXES = {resource.api_version: resource for resource in SANDBOX_NAMES.versions}
