"""What the webhook answers: the pod with its sidecar, or why it cannot be."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from kagenti_operator.controllers.authbridge.admission_writes import (
    AdmissionWrites,
    NotTheOwner,
    controller_of,
    is_name,
)
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.outcome import Injected, Refused, Unchanged
from kagenti_operator.controllers.authbridge.patch import build_patch
from kagenti_operator.controllers.authbridge.pod import containers_of
from kagenti_operator.controllers.authbridge.workload import Workload, find_workload
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.webhook.admission import (
    AdmissionRequest,
    AdmissionResponse,
    allow,
    refuse,
)

_ACTION = "Admit"


class PodAdmission:
    """Decides about pods from the caches, and writes what they need before they are made."""

    def __init__(self, dependencies: Dependencies, facts: AuthBridgeFacts, writes: AdmissionWrites) -> None:
        self._facts = facts
        self._writes = writes
        self._events = dependencies.unfenced_events

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """What has to be complete before anything is decided."""
        return (*self._facts.informers, *self._writes.informers)

    async def review(self, request: AdmissionRequest) -> AdmissionResponse:
        """Answer a review. What is no pod, or is not being made, is admitted as it is."""
        pod = request.object
        if request.kind.kind != "Pod" or request.operation != "CREATE" or not _is_pod(pod):
            return allow(request)
        if late := [informer.name for informer in self.informers if not informer.synced]:
            text = f"the operator has just started and does not know yet: {', '.join(late)}; try again"
            return refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, text)
        workload = self._writes.identify(request.namespace, find_workload(pod))
        inputs = self._facts.observe(request.namespace)
        outcome = decide(pod, workload, inputs.namespace, inputs.gates, inputs.platform, inputs.surroundings)
        match outcome:
            case Unchanged(warnings):
                return allow(request, warnings=warnings)
            case Refused(message, warnings):
                self._report(request, pod, workload, "AuthBridgeRefused", message)
                self._warn(request, pod, workload, warnings)
                return refuse(request, HTTPStatus.FORBIDDEN, message)
            case Injected():
                self._warn(request, pod, workload, outcome.warnings)
                return await self._inject(request, pod, workload, outcome)

    async def _inject(
        self, request: AdmissionRequest, pod: Pod, workload: Workload, outcome: Injected
    ) -> AdmissionResponse:
        if not (is_name(workload.name) and is_name(request.namespace)):
            text = f"AuthBridge: {workload.name!r} of {request.namespace!r} cannot be part of a name"
            return refuse(request, HTTPStatus.FORBIDDEN, text)
        if request.dry_run:
            return self._rehearse(request, pod, outcome)
        try:
            await self._writes.ensure(request.namespace, pod, workload, outcome)
        except NotTheOwner as error:
            return refuse(request, HTTPStatus.FORBIDDEN, f"AuthBridge: {error}")
        except KubeError as error:
            text = f"AuthBridge: what the pod needs could not be written: {error}"
            self._report(request, pod, workload, "AuthBridgeNotWritten", text)
            return refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, text)
        patch = build_patch(pod, outcome.pod)
        return allow(request, patch=patch, warnings=outcome.warnings)

    def _rehearse(self, request: AdmissionRequest, pod: Pod, outcome: Injected) -> AdmissionResponse:
        """A dry run writes nothing. An account that would be made is not there for the pod to name."""
        after, warnings = outcome.pod, outcome.warnings
        account = outcome.service_account
        if account and not self._writes.has_account(request.namespace, account):
            after = {**after, "spec": _without_account(pod, after["spec"])}
            warnings = (*warnings, f"ServiceAccount {account} would be made, and the pod run under it")
        return allow(request, patch=build_patch(pod, after), warnings=warnings)

    def _warn(self, request: AdmissionRequest, pod: Pod, workload: Workload, warnings: Sequence[str]) -> None:
        for warning in warnings:
            self._report(request, pod, workload, "AuthBridgeWarning", warning)

    def _report(
        self, request: AdmissionRequest, pod: Pod, workload: Workload, reason: str, message: str
    ) -> None:
        """Whoever makes a pod by itself reads the answer; who makes a Deployment does not."""
        about = build_reference(request.namespace, pod, workload)
        if about is not None and not request.dry_run and self._facts.namespaces.get(request.namespace):
            self._events.warning(about, reason, message, action=_ACTION)


def _is_pod(pod: Any) -> bool:
    """Whether it has what every pod has: the API server sends no other, whoever else might."""
    try:
        return all(isinstance(container["name"], str) for container in containers_of(pod)) and isinstance(
            pod["metadata"], Mapping
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _without_account(pod: Pod, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {key: value for key, value in spec.items() if key not in _ACCOUNT_FIELDS}
    return {**kept, **{key: pod["spec"][key] for key in _ACCOUNT_FIELDS if key in pod["spec"]}}


# The API server's own have 36, and 60 at most.
MOST_CHARACTERS = 128
_ACCOUNT_FIELDS = ("serviceAccountName", "serviceAccount")


def build_reference(namespace: str, pod: Pod, workload: Workload) -> ObjectRef | None:
    """What an Event about the pod stands on; None where nothing is known that can be one."""
    if not workload.uid:
        return None
    api_version = controller_of(pod)["apiVersion"] if workload.kind == "Sandbox" else "apps/v1"
    # The pod's author may have written anything there, and what Events are about is kept for a while.
    if len(api_version) + len(workload.uid) > MOST_CHARACTERS or not is_name(workload.name):
        return None
    return ObjectRef(
        api_version=api_version,
        kind=workload.kind,
        name=workload.name,
        namespace=namespace,
        uid=workload.uid,
    )
