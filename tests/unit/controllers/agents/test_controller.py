"""In which order an agent's plan is carried out, seen by an API server that a test plays."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from copy import replace
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import Grantee, build_access
from kagenti_operator.controllers.agents.controller import UNREADABLE_SECONDS, AgentsReconciler
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.foreign_bindings import PAUSE as PAUSE_AFTER_FOREIGN
from kagenti_operator.controllers.agents.keys import AgentKey, namespace_of
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.objects.rbac import Role, RoleBinding
from kagenti_operator.kube.resources import AGENT_SANDBOXES
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS
from kagenti_operator.runtime.control.write_backoff import FREE, LAST, PAUSE
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from kagenti_operator.runtime.telemetry.reporter import REPEAT_SECONDS
from tests.support.misbehaving_server import Answer, serving
from tests.support.peer import Peer, running_peer
from tests.support.virtual_time import skip
from tests.unit.controllers.dependencies import open_dependencies, put

from .workloads import EXPERIMENT, INJECTION, KEY, build_agent, environment, grantee

ROLE = "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/roles/kagenti-mlflow-weather"
BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings/kagenti-mlflow-weather"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings"
WORKLOADS = "/apis/apps/v1/namespaces/team1/deployments"
WORKLOAD = f"{WORKLOADS}/weather"
SANDBOXES = "/apis/agents.x-k8s.io/v1beta1/namespaces/team1/sandboxes"
MADE = Answer(
    body={"experiment_id": "7", "experiment": {"experiment_id": "7", "name": "weather", "creation_time": 1}}
)
GONE: Mapping[str, Any] = {"kind": "Status", "status": "Success"}
NONE: Mapping[str, Any] = {"metadata": {"resourceVersion": "9"}, "items": []}
NEW = build_agent()
CONFIGURED = build_agent({"name": "agent", "env": environment()}, annotations=INJECTION.annotations(KAGENTI))
OPTED_OUT = build_agent(
    {"name": "agent", "env": environment()},
    annotations=INJECTION.annotations(KAGENTI),
    inject="disabled",
)


class Said(EventRecorder):
    """All warnings, in their order."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.about: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def warning(self, about: ObjectRef, reason: str, message: str, *, action: str = "Reconcile") -> bool:
        del action
        self.reasons.append(reason)
        self.about.append((about.kind, about.name))
        self.texts.append(message)
        return True


@dataclass
class Cluster:
    peer: Peer
    said: Said
    facts: AgentFacts
    endpoint: Observable[Endpoint | None]
    gone: Observable[bool]
    reconciler: AgentsReconciler
    bodies: list[bytes] = field(default_factory=list[bytes])

    def put(self, agent: AgentWorkload) -> None:
        put(self.facts.workloads["Deployment"], agent)

    def put_grant(self, *owners: Grantee) -> None:
        owners = owners or (grantee(NEW),)
        role, binding = build_access(KAGENTI, KEY, ("weather",), owners, experiment=EXPERIMENT)
        put(self.facts.roles, msgspec.convert(role, Role))
        put(self.facts.bindings, msgspec.convert(binding, RoleBinding))

    async def reconcile(self, *expected: tuple[str, str, object], key: AgentKey = KEY) -> float | None:
        """Reconcile; these requests have to come in this order, each with what is answered, or a status."""
        looking = asyncio.ensure_future(self.reconciler.reconcile(key))
        for method, path, answer in expected:
            request = await self.peer.request()
            assert (request.method, request.path) == (method, path)
            self.bodies.append(request.body)
            if isinstance(answer, HTTPStatus):
                await request.refuse(answer, "Forbidden")
            else:
                await request.answer(200, answer or msgspec.json.decode(request.body))
        return await looking


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    settings = Settings()
    async with running_peer() as peer, open_dependencies(settings, peer.url) as opened:
        said = Said()
        dependencies = replace(opened, events=said)
        facts, endpoint = AgentFacts(dependencies), Observable[Endpoint | None](None)
        gone = Observable(False)
        queue = dependencies.queue("agents", bucket=namespace_of)
        collectors = CollectorExperiments(settings, AccessFacts(dependencies))
        reconciler = AgentsReconciler(dependencies, facts, endpoint, gone, queue, collectors)
        yield Cluster(peer, said, facts, endpoint, gone, reconciler)


@pytest.mark.parametrize("late", ["Deployment", "Sandbox"])
async def test_nothing_is_revoked_of_a_kind_that_cannot_be_listed(cluster: Cluster, late: str) -> None:
    """The workload, or one of its name that shares the Role, is not in the cache and may exist."""
    role, binding = build_access(
        KAGENTI,
        KEY,
        ("weather",),
        (grantee(NEW), replace(grantee(NEW), resource=AGENT_SANDBOXES)),
        experiment=EXPERIMENT,
    )
    put(cluster.facts.roles, msgspec.convert(role, Role))
    put(cluster.facts.bindings, msgspec.convert(binding, RoleBinding))
    informer = cluster.facts.workloads[late]
    assert isinstance(informer, Informer)
    informer.late = True
    looked = () if late == "Deployment" else (("GET", WORKLOAD, HTTPStatus.NOT_FOUND),)
    await cluster.reconcile(*looked)
    assert cluster.peer.idle
    informer.late = False
    await cluster.reconcile(
        ("GET", WORKLOAD, HTTPStatus.NOT_FOUND),
        ("GET", f"{SANDBOXES}/weather", HTTPStatus.NOT_FOUND),
        ("GET", SANDBOXES, NONE),
        ("DELETE", BINDING, GONE),
        ("DELETE", ROLE, GONE),
    )


async def test_access_comes_before_the_environment_that_needs_it(cluster: Cluster) -> None:
    cluster.put(NEW)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        wait = await cluster.reconcile(
            ("PATCH", ROLE, None), ("PATCH", BINDING, None), ("PATCH", WORKLOAD, None)
        )
    assert wait == CONFIRM_SECONDS


async def test_where_the_grant_is_refused_the_workload_is_not_changed(cluster: Cluster) -> None:
    cluster.put(NEW)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        with pytest.raises(ApiError, match="Forbidden"):
            await cluster.reconcile(("PATCH", ROLE, None), ("PATCH", BINDING, HTTPStatus.FORBIDDEN))
    assert cluster.peer.idle


async def test_who_opts_out_loses_the_right_first_and_the_role_last(cluster: Cluster) -> None:
    cluster.put(OPTED_OUT)
    cluster.put_grant()
    released = msgspec.to_builtins(build_agent(inject="disabled"))
    await cluster.reconcile(
        ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
        ("DELETE", BINDING, GONE),
        ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
        ("PATCH", WORKLOAD, released),
        ("DELETE", ROLE, GONE),
    )


async def test_as_long_as_the_release_is_refused_the_role_stays(cluster: Cluster) -> None:
    """It is how an operator that is started anew knows that something is left to do."""
    cluster.put(OPTED_OUT)
    cluster.put_grant()
    with pytest.raises(ApiError, match="Forbidden"):
        await cluster.reconcile(
            ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
            ("DELETE", BINDING, GONE),
            ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
            ("PATCH", WORKLOAD, HTTPStatus.FORBIDDEN),
        )
    assert cluster.peer.idle


async def test_what_another_manager_owns_as_well_is_taken_out_field_by_field(cluster: Cluster) -> None:
    """That first, and at once: what is only given up by us would stay, and each change rolls the pods."""
    cluster.put(OPTED_OUT)
    kept, clean = (msgspec.to_builtins(agent) for agent in (OPTED_OUT, build_agent(inject="disabled")))
    annotations: dict[str, Any] = {"f:mlflow.kagenti.io/experiment-id": {}}
    fields = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": annotations}}}}
    kept["metadata"]["managedFields"] = [{"manager": "manager", "operation": "Update", "fieldsV1": fields}]
    await cluster.reconcile(
        ("GET", WORKLOAD, kept),
        ("GET", WORKLOAD, kept),
        ("PATCH", WORKLOAD, clean),
        ("PATCH", WORKLOAD, clean),
    )


async def test_who_is_gone_is_looked_for_before_its_right_is_taken(cluster: Cluster) -> None:
    """A workload that left the cache may only have lost its label."""
    cluster.put_grant()
    unlabelled = msgspec.to_builtins(NEW)
    await cluster.reconcile(
        ("GET", WORKLOAD, unlabelled),
        ("GET", WORKLOADS, NONE),
        ("DELETE", BINDING, GONE),
        ("DELETE", ROLE, GONE),
    )


@pytest.mark.parametrize("cached", [None, OPTED_OUT])
async def test_from_whom_the_api_server_shows_as_an_agent_nothing_is_taken(
    cluster: Cluster, cached: AgentWorkload | None
) -> None:
    """A list that was cut short, or a watch that is behind: the cache is wrong."""
    if cached:
        cluster.put(cached)
    cluster.put_grant()
    live = msgspec.to_builtins(CONFIGURED)
    wait = await cluster.reconcile(("GET", WORKLOAD, live), ("GET", WORKLOADS, {**NONE, "items": [live]}))
    assert wait == CONFIRM_SECONDS
    assert cluster.peer.idle


async def test_a_twin_that_only_a_cache_lacks_keeps_its_right(cluster: Cluster) -> None:
    """Both own the Role; the Deployment is gone indeed."""
    twin = grantee(build_agent(uid="u2"), KEY._replace(kind="StatefulSet"))
    cluster.put_grant(twin)
    path = "/apis/apps/v1/namespaces/team1/statefulsets"
    live = msgspec.to_builtins(twin.agent)
    wait = await cluster.reconcile(
        ("GET", WORKLOAD, HTTPStatus.NOT_FOUND),
        ("GET", f"{path}/weather", live),
        ("GET", path, {**NONE, "items": [live]}),
        ("GET", f"{path}/weather", live),
    )
    assert wait == CONFIRM_SECONDS
    assert cluster.peer.idle


STATEFUL_SETS = "/apis/apps/v1/namespaces/team1/statefulsets"
# A body that no model fits; its metadata is as that of any.
UNREADABLE: Mapping[str, Any] = {
    "metadata": {"name": "weather", "namespace": "team1", "uid": "u2"},
    "spec": {"template": 7},
}
LOOK_AT_UNREADABLE = (
    ("GET", f"{STATEFUL_SETS}/weather", UNREADABLE),
    ("GET", STATEFUL_SETS, {**NONE, "items": [UNREADABLE]}),
    ("GET", f"{STATEFUL_SETS}/weather", UNREADABLE),
)


async def test_a_twin_that_cannot_be_decoded_keeps_what_it_has_and_holds_up_nothing(cluster: Cluster) -> None:
    """Its account and its ownership stay; the other agent's are added, and it is configured."""
    twin = grantee(build_agent(uid="u2", service_account="its"), KEY._replace(kind="StatefulSet"))
    cluster.put(NEW)
    cluster.put_grant(twin)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile(
            *LOOK_AT_UNREADABLE, ("PATCH", ROLE, None), ("PATCH", BINDING, None), ("PATCH", WORKLOAD, None)
        )
    role, binding = (msgspec.json.decode(body) for body in cluster.bodies[-3:-1])
    assert {owner["uid"] for owner in role["metadata"]["ownerReferences"]} == {"u1", "u2"}
    assert {subject["name"] for subject in binding["subjects"]} == {"default", "its"}
    assert cluster.said.reasons == ["MLflowRoleSharedWithUnreadable"]
    assert "StatefulSet 'weather'" in cluster.said.texts[0]


async def test_beside_a_twin_that_cannot_be_decoded_who_goes_is_released_and_revokes_nothing(
    cluster: Cluster,
) -> None:
    twin = grantee(build_agent(uid="u2"), KEY._replace(kind="StatefulSet"))
    cluster.put_grant(grantee(NEW), twin)
    wait = await cluster.reconcile(("GET", WORKLOAD, HTTPStatus.NOT_FOUND), *LOOK_AT_UNREADABLE)
    assert cluster.peer.idle
    assert wait == UNREADABLE_SECONDS


async def test_a_twin_that_the_api_server_refuses_to_show_holds_up_nothing_either(cluster: Cluster) -> None:
    twin = grantee(build_agent(uid="u2"), KEY._replace(kind="StatefulSet"))
    cluster.put(NEW)
    cluster.put_grant(grantee(NEW), twin)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile(
            ("GET", f"{STATEFUL_SETS}/weather", HTTPStatus.FORBIDDEN),
            ("PATCH", ROLE, None),
            ("PATCH", WORKLOAD, None),
        )
    assert "403" in cluster.said.texts[0]


async def test_an_agent_that_cannot_be_decoded_is_known_by_its_metadata(cluster: Cluster) -> None:
    key = KEY._replace(kind="StatefulSet")
    cluster.put_grant(grantee(build_agent(uid="u2"), key))
    wait = await cluster.reconcile(
        ("GET", f"{STATEFUL_SETS}/weather", UNREADABLE),
        ("GET", f"{STATEFUL_SETS}/weather", UNREADABLE),
        ("GET", STATEFUL_SETS, {**NONE, "items": [UNREADABLE]}),
        key=key,
    )
    assert wait == CONFIRM_SECONDS
    assert cluster.peer.idle


async def test_a_sandbox_whose_api_one_server_does_not_serve_keeps_its_right(cluster: Cluster) -> None:
    key = KEY._replace(kind="Sandbox")
    cluster.put_grant(grantee(build_agent(), key))
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    defined = {"metadata": {"name": "sandboxes.agents.x-k8s.io"}}
    with pytest.raises(ApiError, match="404"):
        await cluster.reconcile(
            ("GET", f"{SANDBOXES}/weather", HTTPStatus.NOT_FOUND),
            ("GET", SANDBOXES, HTTPStatus.NOT_FOUND),
            ("GET", crds, {**NONE, "items": [defined]}),
            key=key,
        )
    assert cluster.peer.idle


def build_binding(name: str, role: str = "kagenti-mlflow-weather", manager: str = "eve") -> RoleBinding:
    labels = {"app.kubernetes.io/managed-by": manager}
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "team1", "uid": "b", "labels": labels},
            "roleRef": {"kind": "Role", "name": role},
            "subjects": [{"kind": "User", "name": "eve"}],
        },
        RoleBinding,
    )


async def test_a_role_that_others_grant_too_is_emptied_and_both_are_told(cluster: Cluster) -> None:
    cluster.put(CONFIGURED)
    cluster.put_grant()
    put(cluster.facts.bindings, build_binding("eves"))
    role, _ = build_access(KAGENTI, KEY, ("weather",), (grantee(NEW),), experiment=EXPERIMENT)
    answer = {**msgspec.to_builtins(role), "rules": None}
    await cluster.reconcile(("PATCH", ROLE, answer))
    assert msgspec.json.decode(cluster.bodies[-1])["rules"] == []
    assert cluster.said.about == [("RoleBinding", "eves"), ("Deployment", "weather")]
    assert all("kubectl delete rolebinding -n team1 eves" in text for text in cluster.said.texts)
    put(cluster.facts.roles, msgspec.convert(answer, Role))
    await cluster.reconcile()
    assert cluster.peer.idle


async def test_a_role_that_others_grant_already_is_made_empty_and_nothing_is_put_in(cluster: Cluster) -> None:
    """They were let in to what it is filled with, and needed to hold nothing for it."""
    cluster.put(NEW)
    put(cluster.facts.bindings, build_binding("eves"))
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile()
    assert cluster.said.reasons == ["MLflowRoleGrantedToOthers"] * 2
    assert cluster.peer.idle


def emptied(cluster: Cluster) -> bool:
    return msgspec.json.decode(cluster.bodies[-1])["rules"] == []


async def test_the_role_of_an_agent_in_doubt_is_emptied_where_others_grant_it(cluster: Cluster) -> None:
    cluster.put_grant()
    put(cluster.facts.bindings, build_binding("eves"))
    live = msgspec.to_builtins(CONFIGURED)
    await cluster.reconcile(
        ("GET", WORKLOAD, live), ("GET", WORKLOADS, {**NONE, "items": [live]}), ("PATCH", ROLE, None)
    )
    assert emptied(cluster)
    assert ("RoleBinding", "eves") in cluster.said.about


async def test_the_role_of_a_kind_that_cannot_be_listed_is_emptied_where_others_grant_it(
    cluster: Cluster,
) -> None:
    cluster.put_grant()
    put(cluster.facts.bindings, build_binding("eves"))
    informer = cluster.facts.workloads["Deployment"]
    assert isinstance(informer, Informer)
    informer.late = True
    await cluster.reconcile(("PATCH", ROLE, None))
    assert emptied(cluster)


async def test_an_emptied_role_stays_through_a_restart_whoever_else_of_its_name_is_looked_at(
    cluster: Cluster,
) -> None:
    """The Role then says which experiment it is, and not its name; a RoleBinding's event is all kinds'."""
    cluster.put(CONFIGURED)
    role, binding = build_access(
        KAGENTI, KEY, ("weather",), (grantee(NEW),), experiment=EXPERIMENT, empty=True
    )
    put(cluster.facts.roles, msgspec.convert(role, Role))
    put(cluster.facts.bindings, msgspec.convert(binding, RoleBinding), build_binding("eves"))
    await cluster.reconcile(
        ("GET", f"{STATEFUL_SETS}/weather", HTTPStatus.NOT_FOUND), key=KEY._replace(kind="StatefulSet")
    )
    assert cluster.peer.idle


async def test_who_grants_the_role_before_a_watch_shows_it_does_not_keep_what_it_is_filled_with(
    cluster: Cluster,
) -> None:
    """Made while the Role was empty: it is looked for once the Role is filled, before the workload rolls."""
    cluster.put(NEW)
    role, _ = build_access(KAGENTI, KEY, ("weather",), (grantee(NEW),), experiment=EXPERIMENT, empty=True)
    put(cluster.facts.roles, msgspec.convert(role, Role))
    eves = msgspec.to_builtins(build_binding("eves"))
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        wait = await cluster.reconcile(
            ("PATCH", ROLE, None),
            ("PATCH", BINDING, None),
            ("GET", BINDINGS, {**NONE, "items": [eves]}),
            ("PATCH", ROLE, None),
        )
    assert emptied(cluster)
    assert cluster.peer.idle
    assert cluster.said.about == [("RoleBinding", "eves"), ("Deployment", "weather")]
    assert wait == pytest.approx(PAUSE_AFTER_FOREIGN.first, abs=1)


async def test_the_role_stays_empty_for_a_while_after_others_granted_it(cluster: Cluster) -> None:
    cluster.put(CONFIGURED)
    cluster.put_grant()
    cluster.facts.bindings.subscribe(cluster.reconciler.foreign.follow)
    put(cluster.facts.bindings, build_binding("eves"))
    cluster.facts.bindings.cache.remove(("team1", "eves"), "9")
    wait = await cluster.reconcile(("PATCH", ROLE, None))
    assert emptied(cluster)
    assert wait == pytest.approx(PAUSE_AFTER_FOREIGN.first, abs=1)
    assert "after a pause" in cluster.said.texts[0]


async def test_the_role_is_filled_once_they_are_gone(cluster: Cluster) -> None:
    cluster.put(NEW)
    put(cluster.facts.bindings, build_binding("eves"))
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile()
        cluster.facts.bindings.cache.replace({})
        await cluster.reconcile(("PATCH", ROLE, None), ("PATCH", BINDING, None), ("PATCH", WORKLOAD, None))


@pytest.mark.parametrize("role", ["kagenti-mlflow-weather", "kagenti-mlflow-other"])
async def test_a_binding_of_its_name_is_put_right_before_the_role_is_filled(
    cluster: Cluster, role: str
) -> None:
    cluster.put(NEW)
    put(cluster.facts.bindings, build_binding("kagenti-mlflow-weather", role, "kagenti-operator"))
    replaced = () if role == "kagenti-mlflow-weather" else (("DELETE", BINDING, GONE),)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile(
            ("PATCH", ROLE, None),
            *replaced,
            ("PATCH", BINDING, None),
            ("PATCH", ROLE, None),
            ("GET", BINDINGS, NONE),
            ("PATCH", WORKLOAD, None),
        )
    roles = [msgspec.json.decode(body)["rules"] for body in cluster.bodies if b'"Role"' in body[:60]]
    assert [len(rules) for rules in roles] == [0, 1]


async def test_a_binding_that_others_made_for_another_role_stays_and_the_role_is_not_filled(
    cluster: Cluster,
) -> None:
    cluster.put(NEW)
    put(cluster.facts.bindings, build_binding("kagenti-mlflow-weather", "kagenti-mlflow-other"))
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        with pytest.raises(ApiError, match="422"):
            await cluster.reconcile(
                ("PATCH", ROLE, None), ("PATCH", BINDING, HTTPStatus.UNPROCESSABLE_ENTITY)
            )
    assert msgspec.json.decode(cluster.bodies[0])["rules"] == []
    assert cluster.said.reasons == ["MLflowNotGranted"]
    assert cluster.peer.idle


async def test_a_binding_of_an_agents_name_that_others_made_for_no_agent_is_theirs(cluster: Cluster) -> None:
    put(cluster.facts.bindings, build_binding("kagenti-mlflow-weather"))
    await cluster.reconcile(("GET", WORKLOAD, HTTPStatus.NOT_FOUND))
    assert cluster.peer.idle


async def test_one_of_ours_is_found_by_its_name_when_somebody_took_its_label_away(cluster: Cluster) -> None:
    cluster.put_grant()
    ours = cluster.facts.binding(KEY)
    assert ours is not None
    labels = msgspec.structs.replace(ours.metadata.labels, managed_by=None)
    metadata = msgspec.structs.replace(ours.metadata, labels=labels)
    put(cluster.facts.bindings, msgspec.structs.replace(ours, metadata=metadata))
    await cluster.reconcile(
        ("GET", WORKLOAD, HTTPStatus.NOT_FOUND), ("DELETE", BINDING, GONE), ("DELETE", ROLE, GONE)
    )


async def test_with_mlflow_gone_for_good_the_environment_goes_and_the_grant_stays(cluster: Cluster) -> None:
    cluster.put(
        build_agent({"name": "agent", "env": environment()}, annotations=INJECTION.annotations(KAGENTI))
    )
    cluster.put_grant()
    await cluster.reconcile()
    cluster.gone.set(True)
    released = msgspec.to_builtins(NEW)
    await cluster.reconcile(("GET", WORKLOAD, released), ("PATCH", WORKLOAD, released))
    assert cluster.peer.idle


async def test_an_mlflow_that_is_back_counts_before_it_is_known_not_to_be_gone(cluster: Cluster) -> None:
    """Two controllers find that out, one after the other."""
    cluster.put(
        build_agent({"name": "agent", "env": environment()}, annotations=INJECTION.annotations(KAGENTI))
    )
    cluster.put_grant()
    cluster.gone.set(True)
    async with serving(MADE) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        await cluster.reconcile()
    assert cluster.peer.idle


async def test_who_keeps_making_the_grant_anew_does_not_hold_up_the_release(cluster: Cluster) -> None:
    clean = build_agent(inject="disabled")
    cluster.put_grant()
    cluster.put(clean)
    for _ in range(FREE):
        await cluster.reconcile(
            ("GET", WORKLOAD, msgspec.to_builtins(clean)), ("DELETE", BINDING, GONE), ("DELETE", ROLE, GONE)
        )
    cluster.put(OPTED_OUT)
    wait = await cluster.reconcile(
        ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
        ("GET", WORKLOAD, msgspec.to_builtins(OPTED_OUT)),
        ("PATCH", WORKLOAD, msgspec.to_builtins(clean)),
    )
    assert wait == pytest.approx(PAUSE.first, abs=1)
    assert cluster.peer.idle
    assert set(cluster.said.reasons) == {"MLflowNotRevoked"}


def at_version(agent: AgentWorkload, version: int) -> AgentWorkload:
    metadata = msgspec.structs.replace(agent.metadata, resource_version=str(version))
    return msgspec.structs.replace(agent, metadata=metadata)


@pytest.mark.virtual_time
async def test_a_fight_over_a_workload_is_over_once_it_is_as_wanted(cluster: Cluster) -> None:
    cluster.put_grant()
    undone = "MLflowConfigurationUndone"
    granted = {"experiment_id": "7", "name": "weather", "creation_time": EXPERIMENT.creation_time}
    async with serving(Answer(body={"experiment_id": "7", "experiment": granted})) as mlflow:
        cluster.endpoint.set(Endpoint(INJECTION.tracking_uri, mlflow.url))
        for version in range(10, 10 + LAST):
            cluster.put(at_version(NEW, 10 * version))
            await cluster.reconcile(
                ("PATCH", WORKLOAD, msgspec.to_builtins(at_version(CONFIGURED, 10 * version + 1)))
            )
            skip(PAUSE.longest)
        cluster.put(at_version(NEW, 1000))
        await cluster.reconcile()
        assert undone in cluster.said.reasons
        cluster.put(at_version(CONFIGURED, 1001))
        cluster.said.reasons.clear()
        for _ in range(3):
            await cluster.reconcile()
            skip(REPEAT_SECONDS)
    assert undone not in cluster.said.reasons
    assert cluster.peer.idle
