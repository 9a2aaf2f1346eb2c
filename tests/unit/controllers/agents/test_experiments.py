"""What is known of agents' experiments: the real client, a server that a test scripts, time that it owns."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest
from kagenti_operator.controllers.cluster import Cluster

from kagenti_operator import clock
from kagenti_operator.controllers.agents.experiments import (
    FORMER_NAME_SECONDS,
    RETRIES,
    AgentExperiments,
    Server,
    check,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.objects.rbac import Role
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowUnreachable
from tests.support.misbehaving_server import Answer, serving
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time

WEATHER = Experiment(id="7", name="weather")
RENAMED = Experiment(id="7", name="renamed")
URI = "https://mlflow.example"
KEY = "Deployment/team1/weather"


def workload(name: str = "weather", *, uid: str = "u1", written: Experiment | None = None) -> AgentWorkload:
    """An agent; `written`: the experiment that its annotations tell."""
    annotations = written and {
        "mlflow.kagenti.io/experiment-id": written.id,
        "mlflow.kagenti.io/experiment-name": written.name,
        "mlflow.kagenti.io/tracking-uri": URI,
        "mlflow.kagenti.io/tracking-auth": "kubernetes-namespaced",
    }
    template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"name": "agent"}]}}
    metadata = {"name": name, "namespace": "team1", "uid": uid}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, AgentWorkload)


def role_of(uid: str, *names: str, experiment_id: str = "7") -> Role:
    """The Role that the operator wrote for that workload."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": uid}
    metadata = {
        "name": "kagenti-mlflow-weather",
        "namespace": "team1",
        "ownerReferences": [owner],
        "annotations": {"mlflow.kagenti.io/experiment-id": experiment_id} if experiment_id else {},
    }
    return msgspec.convert({"metadata": metadata, "rules": [{"resourceNames": names}]}, Role)


def created(experiment_id: str) -> Answer:
    return Answer(body={"experiment_id": experiment_id})


def found(experiment_id: str, name: str) -> Answer:
    experiment = {"experiment_id": experiment_id, "name": name, "lifecycle_stage": "active"}
    return Answer(body={"experiment": experiment})


async def closed() -> str:
    """The address of a server that is away."""
    async with serving(Answer()) as server:
        return server.url


@dataclass
class Desk:
    """A freshly started operator's knowledge, and what it is drawn from."""

    experiments: AgentExperiments
    cluster: Cluster

    def put_role(self, role: Role) -> None:
        self.cluster.roles.store.put(("team1", role.metadata.name), role)

    def put(self, *agents: AgentWorkload) -> None:
        for agent in agents:
            self.cluster.agents["Deployment"].store.put(("team1", agent.metadata.name), agent)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    rng = random.Random(7)
    mlflow = MLflowClient(token=lambda: "token", rng=rng, policy=RETRIES)
    async with KubeClient(Connection("http://unused.example")) as client:
        cluster = Cluster(client, Settings(mlflow_workspace="team1"), rng=rng)
        yield Desk(AgentExperiments(cluster, mlflow, rng=rng), cluster)
    await mlflow.close()


def test_an_experiment_is_granted_by_its_name() -> None:
    known = check(None, WEATHER, URI, now=0, due=300)
    assert known.names(0) == {"weather"}
    assert known.next_look() == 300


def test_a_renamed_experiment_is_granted_under_both_names_for_a_while() -> None:
    renamed = check(check(None, WEATHER, URI, now=0, due=300), RENAMED, URI, now=300, due=600)
    assert renamed.names(300) == {"weather", "renamed"}
    assert renamed.next_look() == 300 + FORMER_NAME_SECONDS
    assert renamed.names(300 + FORMER_NAME_SECONDS) == {"renamed"}


def test_polling_on_does_not_cut_the_while_short() -> None:
    renamed = check(check(None, WEATHER, URI, now=0, due=1), RENAMED, URI, now=1, due=2)
    polled = check(renamed, RENAMED, URI, now=2, due=3)
    assert polled.names(2) == {"weather", "renamed"}
    later = check(polled, RENAMED, URI, now=2 + FORMER_NAME_SECONDS, due=600)
    assert later.names(2 + FORMER_NAME_SECONDS) == {"renamed"}
    assert later.next_look() == 600


async def test_an_absence_of_an_hour_changes_nothing_for_who_is_known(desk: Desk) -> None:
    async with serving(created("7")) as mlflow:
        server = Server(URI, mlflow.url)
        assert await desk.experiments.resolve(KEY, workload(), server) == WEATHER
    for _ in range(12):
        skip(300)
        assert await desk.experiments.resolve(KEY, workload(), server) == WEATHER
    skip(600)
    port = int(server.rest_url.rpartition(":")[2])
    async with serving(found("7", "renamed"), port=port) as back:
        assert await desk.experiments.resolve(KEY, workload(), server) == RENAMED
        assert back.calls == ["get"]
    assert desk.experiments.names([KEY]) == ("renamed", "weather")


async def test_a_new_agent_does_not_keep_others_waiting_while_mlflow_is_away(desk: Desk) -> None:
    away, began = Server(URI, await closed()), clock.monotonic()
    with pytest.raises(MLflowUnreachable):
        await desk.experiments.resolve(KEY, workload(), away)
    assert clock.monotonic() - began <= RETRIES.total


async def test_after_a_restart_the_fleet_is_known_without_asking(desk: Desk) -> None:
    desk.put_role(role_of("u1", "renamed"))
    async with serving(found("7", "renamed")) as mlflow:
        server = Server(URI, mlflow.url)
        assert await desk.experiments.resolve(KEY, workload(written=RENAMED), server) == RENAMED
        assert mlflow.calls == []
        skip(600)
        await desk.experiments.resolve(KEY, workload(written=RENAMED), server)
        assert mlflow.calls == ["get"]


@pytest.mark.parametrize("name", ["news", "renamed"])
async def test_what_a_workloads_author_writes_on_it_is_never_granted(desk: Desk, name: str) -> None:
    """With the operator away anybody who may change the workload may edit what it wrote there."""
    desk.put_role(role_of("u1", "renamed"))
    forged = workload(written=Experiment(id="77", name=name))
    async with serving(found("7", "renamed")) as mlflow:
        server = Server(URI, mlflow.url)
        assert await desk.experiments.resolve(KEY, forged, server) == RENAMED
        assert desk.experiments.names([KEY]) == ("renamed",)
        skip(600)
        assert await desk.experiments.resolve(KEY, forged, server) == RENAMED
        assert mlflow.asked[0].query == {"experiment_id": "7"}


async def test_a_role_of_an_older_version_tells_nothing_and_the_name_gives_the_same_experiment(
    desk: Desk,
) -> None:
    desk.put_role(role_of("u1", "weather", experiment_id=""))
    async with serving(created("7")) as mlflow:
        server = Server(URI, mlflow.url)
        assert await desk.experiments.resolve(KEY, workload(written=WEATHER), server) == WEATHER
        assert mlflow.calls == ["create"]


async def test_a_role_that_names_two_experiments_is_asked_about_at_once(desk: Desk) -> None:
    """It was renamed shortly before the operator was started anew: which name is the old one?"""
    desk.put_role(role_of("u1", "renamed", "weather"))
    async with serving(found("7", "weather")) as mlflow:
        server = Server(URI, mlflow.url)
        assert await desk.experiments.resolve(KEY, workload(written=WEATHER), server) == WEATHER
        assert mlflow.calls == ["get"]
    assert desk.experiments.names([KEY]) == ("renamed", "weather")


async def test_an_id_is_common_only_where_all_have_it(desk: Desk) -> None:
    twin = "StatefulSet/team1/weather"
    async with serving(created("7"), created("8")) as mlflow:
        server = Server(URI, mlflow.url)
        await desk.experiments.resolve(KEY, workload(), server)
        assert desk.experiments.common_id([KEY]) == "7"
        assert desk.experiments.common_id([KEY, twin]) is None
        await desk.experiments.resolve(twin, workload(uid="u2"), server)
        assert desk.experiments.common_id([KEY, twin]) is None
    assert desk.experiments.common_id([twin]) == "8"


@pytest.mark.parametrize("role", [None, role_of("another", "news")])
async def test_a_workload_that_carries_anothers_annotations_is_not_believed(
    desk: Desk, role: Role | None
) -> None:
    if role:
        desk.put_role(role)
    async with serving(created("9")) as mlflow:
        copied = workload(written=Experiment(id="7", name="news"))
        experiment = await desk.experiments.resolve(KEY, copied, Server(URI, mlflow.url))
        assert experiment == Experiment(id="9", name="weather")
        assert mlflow.calls == ["create"]


@pytest.mark.parametrize("name", ["news", "kagenti-traces"])
async def test_an_id_that_is_somebody_elses_by_now_is_given_up(desk: Desk, name: str) -> None:
    desk.put(workload(), workload("news", uid="u2"))
    async with serving(created("7"), found("7", name), created("9")) as mlflow:
        server = Server(URI, mlflow.url)
        await desk.experiments.resolve(KEY, workload(), server)
        skip(600)
        experiment = await desk.experiments.resolve(KEY, workload(), server)
        assert experiment == Experiment(id="9", name="weather")
        assert mlflow.calls == ["create", "get", "create"]
    assert desk.experiments.names([KEY]) == ("weather",)


async def test_what_another_mlflow_said_holds_only_once_the_new_one_confirms_it(desk: Desk) -> None:
    async with serving(created("7"), found("7", "weather")) as mlflow:
        await desk.experiments.resolve(KEY, workload(), Server(URI, mlflow.url))
        elsewhere = "https://elsewhere.example"
        away = Server(elsewhere, await closed())
        with pytest.raises(MLflowUnreachable):
            await desk.experiments.resolve(KEY, workload(), away)
        assert await desk.experiments.resolve(KEY, workload(), Server(elsewhere, mlflow.url)) == WEATHER
        assert mlflow.calls == ["create", "get"]
