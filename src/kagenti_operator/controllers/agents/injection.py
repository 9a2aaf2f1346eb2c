"""Pure: what an agent's workload carries so that its `mlflow` client just works."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import msgspec

from kagenti_operator.contract import (
    AGENT_VARIABLES,
    AUTH_VARIABLE,
    CERTIFICATE_VARIABLE,
    CREDENTIAL_VARIABLES,
    ID_VARIABLE,
    INSECURE_VARIABLE,
    NAME_VARIABLE,
    OPT_IN_WORDS,
    OPT_OUT_WORDS,
    SERVICE_CA_FILE,
    TRACKING_AUTH,
    URI_VARIABLE,
    WORKSPACE_VARIABLE,
    Names,
)
from kagenti_operator.http.service import needs_service_ca
from kagenti_operator.kube.manifests import Manifest, build_patch
from kagenti_operator.kube.objects.agents import (
    Agent,
    AgentIdentity,
    InjectedAnnotations,
    TemplateAnnotations,
)
from kagenti_operator.kube.objects.models import shorten, wire_names
from kagenti_operator.kube.resources import Resource

_ANNOTATIONS = tuple(f.encode_name.split("/")[1] for f in msgspec.structs.fields(InjectedAnnotations))


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's experiment, and how its client reaches it.

    `service_ca`: the address has a certificate of OpenShift's service CA, which no client knows by itself.
    """

    tracking_uri: str
    experiment_id: str
    experiment_name: str
    workspace: str
    service_ca: bool = False

    def environment(self) -> Mapping[str, str]:
        """The environment variables of section 2.6 of the contract, as a pod template has them."""
        values = {
            URI_VARIABLE: self.tracking_uri,
            AUTH_VARIABLE: TRACKING_AUTH,
            ID_VARIABLE: self.experiment_id,
            NAME_VARIABLE: self.experiment_name,
            WORKSPACE_VARIABLE: self.workspace,
        }
        if self.service_ca:
            # Not REQUESTS_CA_BUNDLE, which replaces the CAs of all other hosts as well.
            values[CERTIFICATE_VARIABLE] = SERVICE_CA_FILE
        # The kubelet makes `$` of `$$`, and looks for a variable in `$(NAME)`.
        return {name: value.replace("$", "$$") for name, value in values.items()}

    def annotations(self, names: Names) -> Mapping[str, str]:
        """The pod template's annotations, by which the operator later knows what is its own."""
        values = {
            "experiment-id": self.experiment_id,
            "experiment-name": self.experiment_name,
            "tracking-uri": self.tracking_uri,
            "tracking-auth": TRACKING_AUTH,
        }
        return {names.mlflow_annotation(name): value for name, value in values.items()}


class InjectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`body`: what to apply, None when the workload has everything.

    `kept`: variables that are the user's, as container/name; `left_out`: ours that do not go with them.
    `nothing_left`: no container has room for any of ours; what an earlier reconcile put in has to go.
    """

    body: Manifest | None
    nothing_left: bool = False
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def injected(agent: Agent) -> Injection | None:
    """What an earlier reconcile put into this workload, read back from its annotations."""
    found = agent.template.metadata.annotations
    if not (found.experiment_id and found.experiment_name and found.tracking_uri and found.tracking_auth):
        return None
    return Injection(
        tracking_uri=found.tracking_uri,
        experiment_id=found.experiment_id,
        experiment_name=found.experiment_name,
        workspace=agent.metadata.namespace,
        service_ca=needs_service_ca(found.tracking_uri),
    )


def _current_annotations(agent: Agent) -> Mapping[str, str]:
    """Ours on the pod template, as `Injection.annotations` names them."""
    found = agent.template.metadata.annotations
    named = ((name, getattr(found, field)) for name, field in _marks(type(found)).items())
    return {name: value for name, value in named if value is not None}


@cache
def _marks(model: type[TemplateAnnotations]) -> Mapping[str, str]:
    """The attributes of ours by their names on the wire."""
    return {k: v for k, v in wire_names(model).items() if k.rpartition("/")[2] in _ANNOTATIONS}


def is_marked(agent: Agent) -> bool:
    """Whether any of our annotations is on the pod template."""
    return any(_current_annotations(agent).values())


def has_own_server(agent: Agent) -> bool:
    """Whether each container has a server or credentials of its own, so that nothing of ours is put in."""
    own = {URI_VARIABLE, *CREDENTIAL_VARIABLES}
    containers = agent.template.spec.containers
    return not is_marked(agent) and all(own & c.variables.keys() for c in containers)


def is_opted_out(agent: Agent | AgentIdentity) -> bool:
    """Whether the user does not want anything put into this workload: one "no" is enough."""
    return any(_word(value) in OPT_OUT_WORDS for value in _inject_values(agent))


def unknown_inject_values(agent: Agent) -> tuple[str, ...]:
    """Values of the opt-out annotation that are no word of the contract's, as they were written."""
    known = (*OPT_OUT_WORDS, *OPT_IN_WORDS)
    return tuple(value for value in _inject_values(agent) if _word(value) not in known)


def _inject_values(agent: Agent | AgentIdentity) -> tuple[str, ...]:
    found = [agent.metadata.annotations.inject]
    if not isinstance(agent, AgentIdentity):
        found.append(agent.template.metadata.annotations.inject)
    return tuple(value for value in found if value is not None)


def _word(value: str) -> str:
    return value.strip().lower()


def _own_environment(
    existing: Mapping[str, str | None], wanted: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The variables to apply on a container, and the names of those that the user set and that win.

    A variable is ours when it holds what our annotations say that we wrote, or what we want: left out of an
    apply, one that is ours would go, and people may have edited the annotations.
    """
    kept = [name for name in CREDENTIAL_VARIABLES if name in existing]
    kept += [
        name
        for name, value in wanted.items()
        if name in existing and existing[name] not in (value, before.get(name, value))
    ]
    if _is_brought(existing, wanted, before) and WORKSPACE_VARIABLE in kept:
        kept.remove(WORKSPACE_VARIABLE)
    without = {*kept, *_find_unfit(kept, existing)}
    return {name: value for name, value in wanted.items() if name not in without}, kept


def _is_brought(
    existing: Mapping[str, str | None], wanted: Mapping[str, str], before: Mapping[str, str]
) -> bool:
    """Whether a copy of a workload of another namespace brought our variables along, the workspace included.

    The annotations came with them and name an experiment of there: no two workspaces share an id.
    """
    if not before or before[ID_VARIABLE] == wanted[ID_VARIABLE]:
        return False
    return all(existing.get(name) == before[name] for name in (URI_VARIABLE, AUTH_VARIABLE))


def _find_unfit(kept: Collection[str], existing: Mapping[str, str | None]) -> Collection[str]:
    """Which of our variables would work against those that the user keeps.

    With another server than ours, our token and workspace are none of its business; and credentials of the
    user's are for another server, and none of ours. Of an experiment, the client refuses an id and a name
    that do not belong together; and a CA where it is not to verify.
    """
    if {URI_VARIABLE, *CREDENTIAL_VARIABLES} & set(kept):
        return AGENT_VARIABLES
    pair = {ID_VARIABLE, NAME_VARIABLE}
    unfit = pair if pair & set(kept) else set[str]()
    if INSECURE_VARIABLE in existing and existing[INSECURE_VARIABLE] not in ("false", "False", "0"):
        unfit.add(CERTIFICATE_VARIABLE)
    return unfit


def plan_injection(
    names: Names, agent: Agent, resource: Resource[Any], injection: Injection
) -> InjectionPlan:
    """One apply that brings a workload to `injection`, or none when nothing differs."""
    wanted = injection.environment()
    earlier = injected(agent)
    before = earlier.environment() if earlier else dict[str, str]()
    differs = False
    planned: list[tuple[str, Mapping[str, str]]] = []
    kept: list[str] = []
    left_out: list[str] = []
    for container in agent.template.spec.containers:
        existing = container.variables
        ours, theirs = _own_environment(existing, wanted, before)
        # Another CA is no other experiment: nothing to tell, and nothing to remove.
        kept += [f"{container.name}/{name}" for name in theirs if name != CERTIFICATE_VARIABLE]
        placed = {*ours, *theirs}
        left_out += [f"{container.name}/{name}" for name in wanted if name not in placed]
        differs = differs or not ours.items() <= existing.items()
        planned.append((container.name, ours))
    if not any(ours for _, ours in planned):
        return InjectionPlan(body=None, nothing_left=True, kept=tuple(kept), left_out=tuple(left_out))
    annotations = dict(injection.annotations(names))
    if left_out:
        # Whether a variable that is there is the user's, or ours and to be taken out, is seen nowhere else.
        annotations[names.mlflow_annotation("left-out")] = ",".join(left_out)
    # What is too long was read shortened.
    read = {name: shorten(value) for name, value in annotations.items()}
    body = None
    if differs or read != _current_annotations(agent):
        containers = [
            {"name": name, "env": [{"name": k, "value": v} for k, v in ours.items()]}
            for name, ours in planned
        ]
        template = {"metadata": {"annotations": annotations}, "spec": {"containers": containers}}
        # exact: decide again when somebody changed the workload meanwhile.
        body = build_patch(resource, agent, exact=True, spec={_template_field(resource): template})
    return InjectionPlan(body=body, kept=tuple(kept), left_out=tuple(left_out))


def build_release(agent: Agent, resource: Resource[Any], *, exact: bool = True) -> Manifest:
    """Build an apply that gives up every field that is ours: the API server then removes them.

    `exact`: only while nobody changed the workload.
    """
    return build_patch(resource, agent, exact=exact)


def _template_field(resource: Resource[Any]) -> str:
    return "podTemplate" if resource.kind == "Sandbox" else "template"


def is_owned_by_others(names: Names, workload: Mapping[str, Any], resource: Resource[Any]) -> bool:
    """Whether another field manager owns annotations of ours in a whole workload's pod template."""
    path = ("fieldsV1", "f:spec", f"f:{_template_field(resource)}", "f:metadata", "f:annotations")
    marks = {f"f:{names.mlflow_annotation(name)}" for name in _ANNOTATIONS}
    for entry in workload["metadata"].get("managedFields", ()):
        owned: Mapping[str, Any] = entry
        for field in path:
            owned = owned.get(field, {})
        ours = (entry["manager"], entry["operation"]) == (names.manager, "Apply")
        if not ours and not marks.isdisjoint(owned):
            return True
    return False


def build_removal(
    names: Names, workload: Mapping[str, Any], resource: Resource[Any], injection: Injection | None
) -> list[Mapping[str, Any]]:
    """A JSON patch that takes our annotations, and the variables of an injection, out of a whole workload.

    For what others own as well: a rollback writes all of an earlier pod template as its own. Raises
    `conflict` in the API server when the workload has changed meanwhile.
    """
    version, field = workload["metadata"]["resourceVersion"], _template_field(resource)
    ops: list[Mapping[str, Any]] = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}]
    template = workload["spec"][field]
    marks = {names.mlflow_annotation(name) for name in _ANNOTATIONS}
    for name in template["metadata"].get("annotations", {}):
        if name in marks:
            escaped = name.replace("~", "~0").replace("/", "~1")
            ops.append({"op": "remove", "path": f"/spec/{field}/metadata/annotations/{escaped}"})
    ours = injection.environment() if injection else dict[str, str]()
    for i, container in enumerate(template["spec"]["containers"]):
        env: list[Mapping[str, Any]] = container.get("env", [])
        for j in reversed(range(len(env))):
            name = env[j]["name"]
            if name in ours and env[j].get("value") == ours[name]:
                ops.append({"op": "remove", "path": f"/spec/{field}/spec/containers/{i}/env/{j}"})
    return ops
