"""What is known of agents' experiments: the real client, a server that a test scripts, time that it owns."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from kagenti_operator import clock
from kagenti_operator.controllers.agents.experiments import (
    FORMER_LOOK_SECONDS,
    FORMER_NAME_SECONDS,
    RETRIES,
    AgentExperiments,
    CollectorsUnknown,
    ExperimentTaken,
    KnownExperiment,
    common_experiment,
    common_uid,
    follow_name,
    names_to_grant,
)
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.mlflow_turns import MLflowTurns
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments, Resolved
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.objects.rbac import Role
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.mlflow.errors import MLflowUnreachable
from tests.support.misbehaving_server import Answer, serving
from tests.support.virtual_time import skip
from tests.unit.controllers.dependencies import open_dependencies, put

pytestmark = pytest.mark.virtual_time

LONG_AGO, LATER = 1_700_000_000_000, 1_800_000_000_000
WEATHER = Experiment(id="7", name="weather", creation_time=LONG_AGO)
RENAMED = Experiment(id="7", name="renamed", creation_time=LONG_AGO)
URI = "https://mlflow.example"
COLLECTORS = Experiment(id="3", name="kagenti-traces", creation_time=LONG_AGO)
ENDPOINT = Endpoint(URI, URI)
KEY = AgentKey("Deployment", "team1", "weather")


def workload(name: str = "weather", *, uid: str = "u1", written: Experiment | None = None) -> AgentWorkload:
    """An agent; `written`: the experiment in its annotations."""
    annotations = written and {
        "mlflow.kagenti.io/experiment-id": written.id,
        "mlflow.kagenti.io/experiment-name": written.name,
        "mlflow.kagenti.io/tracking-uri": URI,
        "mlflow.kagenti.io/tracking-auth": "kubernetes-namespaced",
    }
    template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"name": "agent"}]}}
    metadata = {"name": name, "namespace": "team1", "uid": uid}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, AgentWorkload)


def role_of(
    uid: str,
    *names: str,
    agent: str = "weather",
    experiment_id: str = "7",
    creation_time: int | None = LONG_AGO,
    mlflow: str = "",
) -> Role:
    """The Role that the operator wrote for that workload; without a time, as its earlier versions did."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": agent, "uid": uid}
    annotations = {"mlflow.kagenti.io/experiment-id": experiment_id} if experiment_id else {}
    if creation_time is not None:
        annotations["mlflow.kagenti.io/experiment-creation-time"] = str(creation_time)
    if mlflow:
        annotations["mlflow.kagenti.io/mlflow-uid"] = mlflow
    metadata = {
        "name": f"kagenti-mlflow-{agent}",
        "namespace": "team1",
        "ownerReferences": [owner],
        "annotations": annotations,
    }
    return msgspec.convert({"metadata": metadata, "rules": [{"resourceNames": names}]}, Role)


def found(experiment_id: str, name: str, creation_time: int = LONG_AGO) -> Answer:
    experiment = {
        "experiment_id": experiment_id,
        "name": name,
        "lifecycle_stage": "active",
        "creation_time": creation_time,
    }
    return Answer(body={"experiment": experiment})


def made(experiment_id: str, creation_time: int = LONG_AGO) -> tuple[Answer, Answer]:
    """It is created, and shown."""
    return Answer(body={"experiment_id": experiment_id}), found(experiment_id, "weather", creation_time)


TAKEN = Answer(400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "taken"})


async def closed() -> str:
    """The address of a server that is away."""
    async with serving(Answer()) as server:
        return server.url


@dataclass
class Operator:
    """What one that was just started knows, and what it takes that from."""

    experiments: AgentExperiments
    facts: AgentFacts
    collectors: CollectorExperiments
    known: dict[AgentKey, KnownExperiment] = field(default_factory=dict[AgentKey, KnownExperiment])

    async def resolve(self, agent: AgentWorkload, endpoint: Endpoint, key: AgentKey = KEY) -> Experiment:
        before = self.known.get(key) or self.experiments.recall(key, agent)
        self.known[key] = await self.experiments.resolve(key, agent, endpoint, before)
        return self.known[key].experiment

    def names(self) -> tuple[str, ...]:
        return names_to_grant(self.known.values(), clock.monotonic())


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    settings = Settings(mlflow_workspace="team1")

    async with open_dependencies(settings) as dependencies:
        facts, mlflow = AgentFacts(dependencies), dependencies.agents_mlflow
        collectors = CollectorExperiments(settings, AccessFacts(dependencies))
        collectors.found(Resolved(URI, "team1", COLLECTORS), "kagenti-traces")
        turns = MLflowTurns(lambda _: None, lambda _: False)
        yield Operator(
            AgentExperiments(settings, facts, mlflow, dependencies.rng, collectors, turns), facts, collectors
        )


def test_an_experiment_is_granted_by_its_name() -> None:
    known = follow_name(None, WEATHER, ENDPOINT, now=0, due=300)
    assert known.names(0) == {"weather"}
    assert known.next_look(0) == 300


def test_a_renamed_experiment_is_granted_under_both_names_for_a_while() -> None:
    renamed = follow_name(
        follow_name(None, WEATHER, ENDPOINT, now=0, due=300), RENAMED, ENDPOINT, now=300, due=600
    )
    assert renamed.names(300) == {"weather", "renamed"}
    assert renamed.next_look(300) == FORMER_LOOK_SECONDS
    assert renamed.names(300 + FORMER_NAME_SECONDS) == {"renamed"}


def test_polling_on_does_not_cut_the_while_short() -> None:
    renamed = follow_name(follow_name(None, WEATHER, ENDPOINT, now=0, due=1), RENAMED, ENDPOINT, now=1, due=2)
    polled = follow_name(renamed, RENAMED, ENDPOINT, now=2, due=3)
    assert polled.names(2) == {"weather", "renamed"}
    later = follow_name(polled, RENAMED, ENDPOINT, now=2 + FORMER_NAME_SECONDS, due=600)
    assert later.names(2 + FORMER_NAME_SECONDS) == {"renamed"}
    assert later.next_look(2 + FORMER_NAME_SECONDS) == 600 - 2 - FORMER_NAME_SECONDS


async def test_an_absence_of_an_hour_changes_nothing_for_who_is_known(operator: Operator) -> None:
    async with serving(*made("7")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(workload(), endpoint) == WEATHER
    for _ in range(12):
        skip(300)
        assert await operator.resolve(workload(), endpoint) == WEATHER
    skip(600)
    port = int(endpoint.rest_url.rpartition(":")[2])
    async with serving(found("7", "renamed"), port=port) as back:
        assert await operator.resolve(workload(), endpoint) == RENAMED
        assert back.calls == ["get"]
    assert operator.names() == ("renamed", "weather")


async def test_a_new_agent_does_not_keep_others_waiting_while_mlflow_is_away(operator: Operator) -> None:
    away, began = Endpoint(URI, await closed()), clock.monotonic()
    with pytest.raises(MLflowUnreachable):
        await operator.resolve(workload(), away)
    assert clock.monotonic() - began <= RETRIES.total


async def test_after_a_restart_the_fleet_is_known_without_asking(operator: Operator) -> None:
    put(operator.facts.roles, role_of("u1", "renamed"))
    async with serving(found("7", "renamed")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(workload(written=RENAMED), endpoint) == RENAMED
        assert mlflow.calls == []
        skip(600)
        await operator.resolve(workload(written=RENAMED), endpoint)
        assert mlflow.calls == ["get"]


@pytest.mark.parametrize("name", ["news", "renamed"])
async def test_what_a_workloads_author_writes_on_it_is_never_granted(operator: Operator, name: str) -> None:
    """With the operator away anybody who may change the workload may edit what it wrote there."""
    put(operator.facts.roles, role_of("u1", "renamed"))
    forged = workload(written=Experiment(id="77", name=name))
    async with serving(found("7", "renamed")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(forged, endpoint) == RENAMED
        assert operator.names() == ("renamed",)
        skip(600)
        assert await operator.resolve(forged, endpoint) == RENAMED
        assert mlflow.asked[0].query == {"experiment_id": "7"}


async def test_a_role_of_an_older_version_says_nothing_and_the_name_gives_the_same_experiment(
    operator: Operator,
) -> None:
    put(operator.facts.roles, role_of("u1", "weather", experiment_id=""))
    async with serving(*made("7")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(workload(written=WEATHER), endpoint) == WEATHER
        assert mlflow.calls == ["create", "get"]


async def test_a_role_that_names_two_experiments_is_asked_about_at_once(operator: Operator) -> None:
    """It was renamed shortly before the operator was started anew: which name is the old one?"""
    put(operator.facts.roles, role_of("u1", "renamed", "weather"))
    async with serving(found("7", "weather")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(workload(written=WEATHER), endpoint) == WEATHER
        assert mlflow.calls == ["get"]
    assert operator.names() == ("renamed", "weather")


def known(experiment_id: str, name: str = "weather") -> KnownExperiment:
    experiment = Experiment(id=experiment_id, name=name, creation_time=LONG_AGO)
    return KnownExperiment(experiment, URI, due=300)


def test_an_experiment_is_common_only_where_all_have_it() -> None:
    assert common_experiment([known("7")]) == WEATHER
    assert common_experiment([known("7"), known("7")]) == WEATHER
    assert common_experiment([known("7"), None]) is None
    assert common_experiment([known("7"), known("8")]) is None
    assert common_experiment([]) is None


def test_a_role_names_every_experiment_that_is_known_and_never_an_empty_name() -> None:
    """The API server takes an empty name for every object of the namespace."""
    assert names_to_grant([known("8", "b"), None, known("7", "a"), known("9", "")], now=0) == ("a", "b")
    assert names_to_grant([None, known("9", "")], now=0) == ()


@pytest.mark.parametrize("role", [None, role_of("another", "news")])
async def test_a_workload_that_carries_anothers_annotations_is_not_believed(
    operator: Operator, role: Role | None
) -> None:
    if role:
        put(operator.facts.roles, role)
    async with serving(*made("9")) as mlflow:
        copied = workload(written=Experiment(id="7", name="news"))
        experiment = await operator.resolve(copied, Endpoint(URI, mlflow.url))
        assert experiment == Experiment(id="9", name="weather", creation_time=LONG_AGO)
        assert mlflow.calls == ["create", "get"]


async def test_an_id_that_has_the_collectors_name_by_now_is_given_up(operator: Operator) -> None:
    async with serving(*made("7"), found("7", "kagenti-traces"), *made("9")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        await operator.resolve(workload(), endpoint)
        skip(600)
        experiment = await operator.resolve(workload(), endpoint)
        assert experiment == Experiment(id="9", name="weather", creation_time=LONG_AGO)
        assert mlflow.calls == ["create", "get", "get", "create", "get"]
    assert operator.names() == ("weather",)


@pytest.mark.parametrize("restarted", [False, True])
async def test_ones_own_experiment_is_kept_under_the_name_of_another_agent_which_is_refused_it(
    operator: Operator, restarted: bool
) -> None:
    """Whoever gave it up would leave all its traces to that agent."""
    news, renamed = AgentKey("Deployment", "team1", "news"), found("7", "news")
    weather = workload(written=WEATHER)
    put(operator.facts.workloads["Deployment"], weather, workload("news", uid="u2"))
    put(operator.facts.roles, role_of("u1", "news" if restarted else "weather"))
    earlier = () if restarted else made("7")
    async with serving(*earlier, renamed, TAKEN, renamed) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        if not restarted:
            operator.known[KEY] = await operator.experiments.resolve(KEY, weather, endpoint, None)
        await operator.resolve(weather, endpoint)
        skip(600)
        mine = await operator.resolve(weather, endpoint)
        assert mine == Experiment(id="7", name="news", creation_time=LONG_AGO)
        with pytest.raises(ExperimentTaken, match="is agent 'weather''s, which no other agent"):
            await operator.resolve(workload("news", uid="u2"), endpoint, news)


async def test_of_an_emptied_role_the_experiment_is_still_its_agents(operator: Operator) -> None:
    """It is empty while others grant it, also through a restart, or a crash before it is filled again."""
    news, renamed = AgentKey("Deployment", "team1", "news"), found("7", "news")
    weather = workload(written=WEATHER)
    put(operator.facts.workloads["Deployment"], weather, workload("news", uid="u2"))
    put(operator.facts.roles, role_of("u1"))
    async with serving(TAKEN, renamed, renamed) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        with pytest.raises(ExperimentTaken, match="is agent 'weather''s, which no other agent"):
            await operator.resolve(workload("news", uid="u2"), endpoint, news)
        mine = await operator.resolve(weather, endpoint)
        assert mine == Experiment(id="7", name="news", creation_time=LONG_AGO)
        assert mlflow.calls == ["create", "get-by-name", "get"]


async def test_an_experiment_whose_name_is_not_known_is_used_only_once_mlflow_says_it(
    operator: Operator,
) -> None:
    put(operator.facts.roles, role_of("u1"))
    with pytest.raises(MLflowUnreachable):
        await operator.resolve(workload(written=WEATHER), Endpoint(URI, await closed()))


async def test_of_a_role_without_a_time_another_agents_name_is_not_believed(operator: Operator) -> None:
    put(operator.facts.workloads["Deployment"], workload(), workload("news", uid="u2"))
    put(operator.facts.roles, role_of("u1", "news", creation_time=None))
    async with serving(*made("9")) as mlflow:
        assert (await operator.resolve(workload(), Endpoint(URI, mlflow.url))).id == "9"


async def test_what_another_mlflow_said_holds_only_once_the_new_one_confirms_it(operator: Operator) -> None:
    async with serving(*made("7"), found("7", "weather")) as mlflow:
        await operator.resolve(workload(), Endpoint(URI, mlflow.url))
        elsewhere = "https://elsewhere.example"
        away = Endpoint(elsewhere, await closed())
        with pytest.raises(MLflowUnreachable):
            await operator.resolve(workload(), away)
        assert await operator.resolve(workload(), Endpoint(elsewhere, mlflow.url)) == WEATHER
        assert mlflow.calls == ["create", "get", "get"]


# --- in another database ids begin anew -----------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_id_that_is_a_strangers_in_another_database_is_given_up(
    operator: Operator, restarted: bool
) -> None:
    """It was made by somebody who is no agent, under any name; only its time tells."""
    put(operator.facts.roles, role_of("u1", "weather"))
    stranger = found("7", "somebodys", LATER)
    earlier = () if restarted else made("7")
    async with serving(*earlier, stranger, *made("9", LATER)) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        if not restarted:
            operator.known[KEY] = await operator.experiments.resolve(KEY, workload(), endpoint, None)
        skip(600)
        experiment = await operator.resolve(workload(), endpoint)
        assert experiment == Experiment(id="9", name="weather", creation_time=LATER)
        assert mlflow.calls[-3:] == ["get", "create", "get"]
    assert operator.names() == ("weather",)


async def test_the_same_id_in_another_database_is_ones_own_where_it_has_ones_name(operator: Operator) -> None:
    """Restored under the old id, or made in the same order: nobody is rolled, and the Role has the time."""
    put(operator.facts.roles, role_of("u1", "weather"))
    again = found("7", "weather", LATER)
    async with serving(again, TAKEN, again) as mlflow:
        assert await operator.resolve(workload(written=WEATHER), Endpoint(URI, mlflow.url)) == WEATHER
        skip(600)
        experiment = await operator.resolve(workload(), Endpoint(URI, mlflow.url))
        assert experiment == Experiment(id="7", name="weather", creation_time=LATER)


async def test_the_former_name_of_another_databases_experiment_is_granted_no_longer(
    operator: Operator,
) -> None:
    put(operator.facts.roles, role_of("u1", "renamed"))
    async with serving(found("7", "somebodys", LATER), *made("9", LATER)) as mlflow:
        assert await operator.resolve(workload(written=RENAMED), Endpoint(URI, mlflow.url)) == RENAMED
        skip(600)
        await operator.resolve(workload(written=RENAMED), Endpoint(URI, mlflow.url))
    assert operator.names() == ("weather",)


@pytest.mark.parametrize("name", ["weather", "renamed"])
async def test_a_role_without_a_time_is_believed_where_the_name_is_the_one_it_grants(
    operator: Operator, name: str
) -> None:
    """Of an earlier version: nobody is rolled for having been configured by it."""
    put(operator.facts.roles, role_of("u1", name, creation_time=None))
    agent = workload(written=Experiment(id="7", name=name))
    async with serving(found("7", name)) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        assert await operator.resolve(agent, endpoint) == Experiment(id="7", name=name)
        skip(600)
        experiment = await operator.resolve(agent, endpoint)
        assert experiment == Experiment(id="7", name=name, creation_time=LONG_AGO)
        assert mlflow.calls == ["get"]


async def test_a_role_without_a_time_does_not_vouch_for_another_name(operator: Operator) -> None:
    put(operator.facts.roles, role_of("u1", "weather", creation_time=None))
    async with serving(found("7", "somebodys"), *made("9")) as mlflow:
        skip(600)
        endpoint = Endpoint(URI, mlflow.url)
        await operator.resolve(workload(), endpoint)
        skip(600)
        assert (await operator.resolve(workload(), endpoint)).id == "9"


async def test_an_mlflow_that_is_made_anew_at_the_same_address_is_asked_at_once(operator: Operator) -> None:
    async with serving(
        *made("7"), found("7", "weather", LATER), TAKEN, found("7", "weather", LATER)
    ) as mlflow:
        await operator.resolve(workload(), Endpoint(URI, mlflow.url, uid="first"))
        assert await operator.resolve(workload(), Endpoint(URI, mlflow.url, uid="first")) == WEATHER
        experiment = await operator.resolve(workload(), Endpoint(URI, mlflow.url, uid="second"))
        assert experiment.creation_time == LATER


@pytest.mark.parametrize(("now", "calls"), [("first", []), ("second", ["get", "create", "get-by-name"])])
async def test_one_that_was_made_anew_while_the_operator_was_away_is_asked_at_once_too(
    operator: Operator, now: str, calls: list[str]
) -> None:
    put(operator.facts.roles, role_of("u1", "weather", mlflow="first"))
    again = found("7", "weather", LATER)
    async with serving(again, TAKEN, again) as mlflow:
        await operator.resolve(workload(written=WEATHER), Endpoint(URI, mlflow.url, uid=now))
        assert mlflow.calls == calls
    assert operator.known[KEY].uid == now
    assert common_uid(operator.known.values()) == now
    assert common_uid([*operator.known.values(), None]) == ""


# --- never granted to an agent --------------------------------------------------------------------------


async def test_the_collectors_experiment_is_no_agents_whatever_its_name(operator: Operator) -> None:
    key = AgentKey("Deployment", "team1", "kagenti-traces")
    put(operator.facts.roles, role_of("u1", "kagenti-traces", agent="kagenti-traces"))
    async with serving(TAKEN, found("3", "kagenti-traces")) as mlflow:
        with pytest.raises(ExperimentTaken, match="it is the collector's"):
            await operator.resolve(workload("kagenti-traces"), Endpoint(URI, mlflow.url), key)
        assert mlflow.calls == []
    async with serving(TAKEN, found("3", "weather")) as mlflow:
        with pytest.raises(ExperimentTaken, match="it is the collector's"):
            await operator.resolve(workload(), Endpoint(URI, mlflow.url))
    operator.collectors.found(
        Resolved(URI, "team1", msgspec.structs.replace(COLLECTORS, name="weather")), "x"
    )
    async with serving(TAKEN, found("8", "weather")) as mlflow:
        with pytest.raises(ExperimentTaken, match="it is the collector's"):
            await operator.resolve(workload(), Endpoint(URI, mlflow.url))
    assert operator.names() == ()


@pytest.mark.parametrize("whose", ["nobody's", "an agent's", "another's by grant", "the collector's"])
async def test_a_former_name_is_granted_only_until_it_is_anothers(operator: Operator, whose: str) -> None:
    name = "kagenti-traces" if whose == "the collector's" else "news"
    if whose == "an agent's":
        put(operator.facts.workloads["Deployment"], workload("news", uid="u2"))
    if whose == "another's by grant":
        put(operator.facts.roles, role_of("u2", "news", agent="sports", experiment_id="8"))
    former = KnownExperiment(RENAMED, URI, due=300, former=(name, clock.monotonic() + 60))
    granted = operator.experiments.without_anothers_name(KEY, former).names(clock.monotonic())
    assert granted == ({"renamed", "news"} if whose == "nobody's" else {"renamed"})
    own = KnownExperiment(RENAMED, URI, due=300, former=("weather", clock.monotonic() + 60))
    put(operator.facts.workloads["Deployment"], workload())
    assert operator.experiments.without_anothers_name(KEY, own) == own


async def test_what_another_agent_made_is_not_granted_under_its_new_name(operator: Operator) -> None:
    put(operator.facts.roles, role_of("u2", "news", agent="news"))
    async with serving(TAKEN, found("7", "weather")) as mlflow:
        with pytest.raises(ExperimentTaken, match="is agent 'news''s, which no other agent"):
            await operator.resolve(workload(), Endpoint(URI, mlflow.url))
    async with serving(TAKEN, found("7", "weather", LATER)) as mlflow:
        # That id was the other's in another database.
        assert (await operator.resolve(workload(), Endpoint(URI, mlflow.url))).id == "7"


async def test_what_has_an_agents_name_is_granted_only_once_it_is_known_what_the_collectors_is(
    operator: Operator,
) -> None:
    """It may be what the collector's was renamed to while the operator was away."""
    operator.collectors.resolved.set(None)
    async with serving(*(TAKEN, found("8", "weather")) * 2) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        with pytest.raises(CollectorsUnknown):
            await operator.resolve(workload(), endpoint)
        operator.collectors.resolved.set(Resolved(URI, "team1", COLLECTORS))
        assert (await operator.resolve(workload(), endpoint)).id == "8"


async def test_an_experiment_that_the_collector_took_by_its_name_is_given_up_at_once(
    operator: Operator,
) -> None:
    async with serving(*made("7"), found("7", "weather")) as mlflow:
        endpoint = Endpoint(URI, mlflow.url)
        await operator.resolve(workload(), endpoint)
        operator.collectors.found(Resolved(URI, "team1", WEATHER), "weather")
        with pytest.raises(ExperimentTaken, match="it is the collector's"):
            await operator.resolve(workload(), endpoint)
