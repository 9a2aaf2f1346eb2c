import pytest
from structlog.testing import capture_logs

from kagenti_operator.runtime.telemetry.event_series import BURST, REFILL_SECONDS
from kagenti_operator.runtime.telemetry.reporter import REPEAT_SECONDS, Report, Reporter
from tests.support.event_bench import AGENT, EventBench
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time

DENIED = Report(reason="Denied", message="no access")
KEPT = Report(reason="Kept", message="set by the workload", type="Normal")
LOGGED = Report(reason="Denied", message="no access", log=True, over="access again")


class ReporterBench(EventBench):
    def __init__(self) -> None:
        super().__init__()
        self.reporter = Reporter[str](self.recorder, "tests")

    async def report(self, *reports: Report) -> None:
        """Report on the one agent, and let the recorder send."""
        async with self.sending():
            self.reporter.report("weather", AGENT, reports)

    def exhaust(self) -> None:
        """Say so much about the agent that the recorder drops what follows."""
        for number in range(int(BURST)):
            self.recorder.normal(AGENT, "Noise", str(number))

    @property
    def events(self) -> list[tuple[str, str, str]]:
        """Type, reason and text of the Events that the API server has, without the noise."""
        found = [(event["type"], event["reason"], event["note"]) for event in self.sent.created]
        return [event for event in found if event[1] != "Noise"]


@pytest.fixture
def bench() -> ReporterBench:
    return ReporterBench()


async def test_what_goes_on_holding_is_reported_once(bench: ReporterBench) -> None:
    for _ in range(3):
        await bench.report(DENIED, KEPT)
        skip(100)
    assert bench.events == [("Warning", "Denied", "no access"), ("Normal", "Kept", "set by the workload")]
    assert bench.sent.patched == []


async def test_another_text_is_reported_at_once(bench: ReporterBench) -> None:
    await bench.report(DENIED)
    await bench.report(Report(reason="Denied", message="not yet"))
    assert [text for _, _, text in bench.events] == ["no access", "not yet"]


async def test_what_lasts_keeps_its_one_event_alive(bench: ReporterBench) -> None:
    await bench.report(DENIED)
    skip(25 * 60 - 1)
    await bench.report(DENIED)
    assert bench.sent.patched == []
    skip(1)
    await bench.report(DENIED)
    skip(REPEAT_SECONDS)
    await bench.report(DENIED)
    assert bench.events == [("Warning", "Denied", "no access")]
    assert [count for _, count in bench.sent.patched] == [2, 3]


async def test_a_report_may_be_a_log_line_as_well_and_says_when_it_is_over(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        await bench.report(LOGGED)
        await bench.report(LOGGED)
        await bench.report()
        await bench.report()
    assert logs == [
        {"event": "no access", "log_level": "warning", "reason": "Denied"},
        {"event": "access again", "log_level": "info", "reason": "Denied"},
    ]
    assert bench.events == [("Warning", "Denied", "no access"), ("Normal", "DeniedResolved", "access again")]


async def test_what_has_no_word_for_its_end_ends_in_silence(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        await bench.report(DENIED)
        await bench.report()
    assert logs == []
    assert bench.events == [("Warning", "Denied", "no access")]


async def test_only_what_no_longer_holds_is_over(bench: ReporterBench) -> None:
    await bench.report(LOGGED, KEPT)
    await bench.report(KEPT)
    assert [reason for _, reason, _ in bench.events] == ["Denied", "Kept", "DeniedResolved"]


async def test_what_comes_back_after_its_end_is_reported_again(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        for reports in ((LOGGED,), (), (LOGGED,)):
            await bench.report(*reports)
    assert [line["event"] for line in logs] == ["no access", "access again", "no access"]


async def test_nothing_is_said_of_what_is_forgotten(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        await bench.report(LOGGED)
        bench.reporter.forget("weather")
        await bench.report()
        await bench.report(LOGGED)
    assert [line["event"] for line in logs] == ["no access", "no access"]
    assert "DeniedResolved" not in [reason for _, reason, _ in bench.events]


async def test_keys_do_not_share_what_holds_for_them(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        bench.reporter.report("weather", None, [LOGGED])
        bench.reporter.report("currency", None, [LOGGED])
        bench.reporter.report("weather", None, [])
    assert [line["event"] for line in logs] == ["no access", "no access", "access again"]


async def test_without_an_object_only_the_log_has_it(bench: ReporterBench) -> None:
    with capture_logs() as logs:
        async with bench.sending():
            bench.reporter.report("weather", None, [LOGGED])
            bench.reporter.report("weather", None, [])
    assert [line["event"] for line in logs] == ["no access", "access again"]
    assert bench.sent.created == []


async def test_an_event_that_the_recorder_dropped_is_recorded_later_and_logged_no_second_time(
    bench: ReporterBench,
) -> None:
    bench.exhaust()
    with capture_logs() as logs:
        for _ in range(3):
            await bench.report(LOGGED)
        assert bench.events == []
        skip(REFILL_SECONDS)
        for _ in range(3):
            await bench.report(LOGGED)
    assert bench.events == [("Warning", "Denied", "no access")]
    assert [line["event"] for line in logs if line.get("reason")] == ["no access"]


async def test_a_reminder_that_the_recorder_dropped_does_not_hide_the_end(bench: ReporterBench) -> None:
    await bench.report(LOGGED)
    skip(REPEAT_SECONDS)
    bench.exhaust()
    with capture_logs() as logs:
        await bench.report(LOGGED)
        await bench.report()
    assert [line["event"] for line in logs if line.get("reason")] == ["no access", "access again"]


async def test_what_cannot_be_judged_now_goes_on_to_hold_and_is_not_said_again(bench: ReporterBench) -> None:
    await bench.report(DENIED, KEPT)
    async with bench.sending():
        bench.reporter.report("weather", AGENT, [DENIED], unknown=("Kept",))
    await bench.report(DENIED, KEPT)
    assert [reason for _, reason, _ in bench.events] == ["Denied", "Kept"]
    assert bench.sent.patched == []
    # Judged, and over: the next time counts in the same series of Events.
    await bench.report(DENIED)
    await bench.report(DENIED, KEPT)
    assert len(bench.sent.patched) == 1
