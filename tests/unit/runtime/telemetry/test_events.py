import asyncio
import random
import re
from copy import replace

import pytest
from structlog.testing import capture_logs

from kagenti_operator.kube.errors import ApiError, KubeError, StatusCause, Unreachable
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.resources import CLUSTER_ROLES, ROLE_BINDINGS
from kagenti_operator.runtime.election.fencing import NotLeading
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from tests.support.event_bench import AGENT, EventBench
from tests.support.virtual_time import advance, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def bench() -> EventBench:
    return EventBench()


async def test_an_event_says_all_that_people_and_the_api_want_to_know(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.warning(AGENT, "NoWorkspace", "Spans are refused", action="Configure")
    (event,) = bench.sent.created
    assert event["metadata"]["namespace"] == "team1"
    assert event["metadata"]["name"].startswith("weather.")
    assert {key: value for key, value in event.items() if key != "metadata"} == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Warning",
        "reason": "NoWorkspace",
        "action": "Configure",
        "note": "Spans are refused",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "weather",
            "namespace": "team1",
            "uid": "u1",
        },
        "reportingController": "kagenti-operator",
        "reportingInstance": "pod-1",
    }


async def test_an_event_names_the_program_that_reports(bench: EventBench) -> None:
    bench.recorder = EventRecorder(
        bench.sent, controller="devcluster-node", instance="n", rng=random.Random(1)
    )
    async with bench.sending():
        bench.recorder.normal(AGENT, "Started", "x")
    (event,) = bench.sent.created
    assert event["reportingController"] == "devcluster-node"


@pytest.mark.parametrize("separator", ["-", ".", "-.-"])
async def test_a_long_name_is_cut_where_the_api_server_takes_it(bench: EventBench, separator: str) -> None:
    # A name of 253 characters has room for 236 of the object's.
    name = "a" * (236 - len(separator)) + separator + "b" * 17
    about = ObjectRef(api_version="v1", kind="ConfigMap", name=name, namespace="team1")
    async with bench.sending():
        bench.recorder.normal(about, "Configured", "x")
    (event,) = bench.sent.created
    kept, _, suffix = event["metadata"]["name"].partition(".")
    assert kept == "a" * (236 - len(separator))
    assert len(suffix) == 16


async def test_an_event_about_a_cluster_scoped_object_is_in_default(bench: EventBench) -> None:
    role = KubeObject(metadata=ObjectMeta(name="edit", uid="u2"))
    async with bench.sending():
        bench.recorder.normal(ObjectRef.of(CLUSTER_ROLES, role), "Found", "x")
    (event,) = bench.sent.created
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["regarding"]


def test_a_reference_is_taken_from_the_object() -> None:
    binding = KubeObject(metadata=ObjectMeta(name="b", namespace="ns", uid="u3"))
    assert ObjectRef.of(ROLE_BINDINGS, binding) == ObjectRef(
        api_version="rbac.authorization.k8s.io/v1", kind="RoleBinding", name="b", namespace="ns", uid="u3"
    )


async def test_what_is_said_again_extends_the_first_event_ever_more_rarely(bench: EventBench) -> None:
    async with bench.sending():
        for _ in range(20):
            bench.recorder.normal(AGENT, "Configured", "x")
            await advance(1)
    (event,) = bench.sent.created
    assert "series" not in event
    assert bench.sent.patched == [(event["metadata"]["name"], count) for count in (2, 4, 8, 16)]


async def test_a_slow_series_is_written_every_five_minutes(bench: EventBench) -> None:
    async with bench.sending():
        for _ in range(30):
            bench.recorder.normal(AGENT, "Configured", "x")
            await advance(61)
    assert [count for _, count in bench.sent.patched] == [2, 4, 8, 13, 18, 23, 28]


async def test_other_words_make_another_event(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        bench.recorder.normal(AGENT, "Configured", "y")
        bench.recorder.warning(AGENT, "Configured", "y")
    assert len(bench.sent.created) == 3
    assert len({event["metadata"]["name"] for event in bench.sent.created}) == 3


async def test_after_a_long_pause_it_is_a_new_event(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        await advance(3600)
        bench.recorder.normal(AGENT, "Configured", "x")
    assert len(bench.sent.created) == 2


async def test_a_series_whose_event_is_gone_is_created_anew_with_its_count(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        await settle()
        bench.sent.failures = [ApiError("patch Event", status=404, reason="NotFound")]
        bench.recorder.normal(AGENT, "Configured", "x")
    assert bench.sent.created[1]["series"]["count"] == 2


async def test_what_is_said_many_times_before_it_is_sent_is_sent_once(bench: EventBench) -> None:
    for _ in range(5):
        bench.recorder.normal(AGENT, "Configured", "x")
    async with bench.sending():
        await settle()
    (event,) = bench.sent.created
    assert event["series"]["count"] == 5


async def test_an_object_about_which_too_much_is_said_falls_silent_and_others_do_not(
    bench: EventBench,
) -> None:
    other = ObjectRef(api_version="v1", kind="Pod", name="other", namespace="team2")
    with capture_logs() as logs:
        async with bench.sending():
            for number in range(60):
                bench.recorder.normal(AGENT, "Configured", f"text {number}")
            bench.recorder.normal(other, "Configured", "x")
            await settle()
            assert len(bench.sent.created) == 26
            assert bench.sent.created[-1]["regarding"]["name"] == "other"
            assert [line["event"] for line in logs] == [
                "Too many events about this object, further ones are dropped for a while"
            ]
            await advance(301)
            bench.recorder.normal(AGENT, "Configured", "text 59")
    assert bench.sent.created[-1]["note"] == "text 59"


async def test_while_nothing_is_sent_only_so_much_is_kept(bench: EventBench) -> None:
    with capture_logs() as logs:
        for number in range(1500):
            about = ObjectRef(api_version="v1", kind="Pod", name=f"p{number}", namespace="ns")
            bench.recorder.normal(about, "Configured", "x")
    assert [line["event"] for line in logs] == ["Too many events wait to be sent, new ones are dropped"]
    async with bench.sending():
        await settle()
    assert len(bench.sent.created) == 1000


async def test_an_event_outlives_an_api_server_that_is_away_for_a_while(bench: EventBench) -> None:
    bench.sent.failures = [
        Unreachable("no answer"),
        ApiError("create Event", status=503, message="starting"),
        Unreachable("no answer"),
    ]
    with capture_logs() as logs:
        async with bench.sending():
            bench.recorder.normal(AGENT, "Configured", "x")
            await advance(20)
    assert len(bench.sent.created) == 1
    assert not logs


async def test_an_event_that_the_server_fails_at_holds_up_no_other(bench: EventBench) -> None:
    fails = ApiError("create Event", status=500, message="failed calling webhook")
    bench.sent.failing = {"x": fails}
    with capture_logs() as logs:
        async with bench.sending():
            bench.recorder.normal(AGENT, "Configured", "x")
            for note in "abc":
                bench.recorder.normal(AGENT, "Configured", note)
            await settle()
            assert [event["note"] for event in bench.sent.created] == ["a", "b", "c"]
            # What is said again meanwhile waits with it.
            bench.recorder.normal(AGENT, "Configured", "x")
            await advance(100)
            bench.sent.failing = {}
            await advance(31)
            assert bench.sent.created[-1]["note"] == "x"
            assert bench.sent.created[-1]["series"]["count"] == 2
            tries = bench.sent.tries
            bench.sent.failing = {"y": fails}
            bench.recorder.normal(AGENT, "Configured", "y")
            await advance(600)
            assert bench.sent.tries == tries + 12
    assert [line["error"] for line in logs] == [str(fails)]


async def test_a_server_that_fails_at_every_event_is_asked_five_times_a_second_at_most(
    bench: EventBench,
) -> None:
    bench.sent.failures = [ApiError("create Event", status=500, message="no space left")] * 10_000
    async with bench.sending():
        for number in range(500):
            about = ObjectRef(api_version="v1", kind="Pod", name=f"p{number}", namespace="ns")
            bench.recorder.normal(about, "Configured", "x")
        await advance(10)
        first, later = 500, bench.sent.tries
        await advance(60)
        assert first <= later <= first + 51
        assert bench.sent.tries - later <= 301


async def test_a_failing_event_is_tried_again_while_nothing_else_happens(bench: EventBench) -> None:
    bench.sent.failures = [ApiError("create Event", status=503, message="starting")] * 3
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        with capture_logs() as logs:
            await bench.recorder.flush(1)
        assert logs[0]["events"] == 1
        await bench.recorder.flush(20)
        assert len(bench.sent.created) == 1


async def test_a_server_that_is_away_is_not_asked_once_for_every_event(bench: EventBench) -> None:
    bench.sent.failures = [Unreachable("no answer")] * 20
    async with bench.sending():
        for number in range(10):
            bench.recorder.normal(AGENT, "Configured", f"text {number}")
        await advance(60)
        # After 1, 2, 4, 8, 16 and 30 s, each a little longer.
        assert bench.sent.tries <= 6
        await advance(600)
    assert len(bench.sent.created) == 10


async def test_an_event_that_no_answer_comes_for_holds_up_no_other_for_long(bench: EventBench) -> None:
    bench.sent.failing = {"x": Unreachable("no answer")}
    with capture_logs() as logs:
        async with bench.sending():
            bench.recorder.normal(AGENT, "Configured", "x")
            bench.recorder.normal(AGENT, "Configured", "y")
            await advance(2)
            assert [event["note"] for event in bench.sent.created] == ["y"]
            assert not logs
            await advance(600)
    assert bench.sent.tries == 13
    assert len(logs) == 1
    assert logs[0]["error"] == "no answer"


async def test_an_event_whose_answer_was_lost_is_not_sent_twice(bench: EventBench) -> None:
    bench.sent.failures = [
        Unreachable("broke the connection off"),
        ApiError("create Event", status=409, reason="AlreadyExists"),
    ]
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        await advance(10)
        bench.recorder.normal(AGENT, "Configured", "x")
    assert [count for _, count in bench.sent.patched] == [2]


async def test_a_refusal_is_reported_once_and_fails_nobody(bench: EventBench) -> None:
    refusal = ApiError("create Event", status=403, reason="Forbidden", message="may not")
    bench.sent.failures = [refusal] * 3
    with capture_logs() as logs:
        async with bench.sending():
            for number in range(4):
                bench.recorder.normal(AGENT, "Configured", f"text {number}")
    assert [line["error"] for line in logs] == [str(refusal)]
    assert bench.sent.tries == 4
    assert [event["note"] for event in bench.sent.created] == ["text 3"]


@pytest.mark.parametrize(
    "refusal",
    [
        NotLeading("held back"),
        ApiError("x", status=403, causes=(StatusCause(reason="NamespaceTerminating"),)),
    ],
)
async def test_what_has_to_be_refused_is_not_worth_a_word(bench: EventBench, refusal: KubeError) -> None:
    bench.sent.failures = [refusal]
    with capture_logs() as logs:
        async with bench.sending():
            bench.recorder.normal(AGENT, "Configured", "x")
    assert not logs
    assert bench.sent.tries == 1


async def test_what_could_not_be_said_is_said_the_next_time(bench: EventBench) -> None:
    bench.sent.failures = [NotLeading("held back")]
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        await settle()
        bench.recorder.normal(AGENT, "Configured", "x")
    assert len(bench.sent.created) == 1


async def test_a_text_that_is_too_long_for_the_api_is_cut(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "ä" * 1000)
    note = bench.sent.created[0]["note"]
    assert note.endswith("ä…")
    assert 1020 < len(note.encode()) <= 1024


async def test_what_others_say_is_one_line_without_tokens_wherever_it_is_cut(bench: EventBench) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
    async with bench.sending():
        for before in (960, 1000, 1015):
            bench.recorder.warning(AGENT, "Refused", "ä\x1b[2J\nb " + "x" * before + f" {token}")
    for event in bench.sent.created:
        assert event["note"].startswith("ä\\x1b[2J b xxx")
        assert "eyJhbG" not in event["note"]
        assert len(event["note"].encode()) <= 1024


async def test_an_event_about_an_object_of_any_name_has_a_name_that_the_api_takes(bench: EventBench) -> None:
    binding = replace(AGENT, kind="RoleBinding", name="system:Auth ..\x1bx-")
    async with bench.sending():
        bench.recorder.warning(binding, "Refused", "x")
    (event,) = bench.sent.created
    assert re.fullmatch(r"system-auth[-a-z0-9]*[a-z0-9]\.[0-9a-f]{16}", event["metadata"]["name"])
    assert event["regarding"]["name"] == binding.name


async def test_flushing_waits_for_what_was_recorded_but_not_for_ever(bench: EventBench) -> None:
    async with bench.sending():
        bench.recorder.normal(AGENT, "Configured", "x")
        await bench.recorder.flush(1)
        assert len(bench.sent.created) == 1
    bench.recorder.normal(AGENT, "Configured", "y")
    with capture_logs() as logs:
        flush = asyncio.create_task(bench.recorder.flush(1))
        await advance(1.1)
    assert flush.done()
    assert logs[0]["event"] == "Events could not be sent in time"
