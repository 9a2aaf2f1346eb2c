import io
from typing import Any

from kagenti_devcluster.demo.failures import StepFailed
from kagenti_devcluster.demo.report import Console, Outcome
from kagenti_devcluster.demo.runner import Step, run_steps
from kagenti_devcluster.errors import DevClusterError
from kagenti_operator.kube.errors import Unreachable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def holds(stage: list[str]) -> Outcome:
    stage.append("holds")
    return Outcome("it does", ("a detail",))


async def breaks(stage: list[str]) -> Outcome:
    stage.append("breaks")
    raise StepFailed(
        "collector → MLflow", "no trace", excerpt=["403 Forbidden"], advice="kagenti-devcluster logs"
    )


def step(run: Any, title: str = "A step") -> Step[list[str]]:
    return Step(title=title, checks="what it checks", run=run)


async def test_steps_run_in_order_and_are_reported():
    stage: list[str] = []
    out = io.StringIO()
    assert await run_steps([step(holds), step(holds, "Another")], stage, Console(out))
    assert stage == ["holds", "holds"]
    lines = out.getvalue().splitlines()
    assert lines[:4] == ["", " 1/2 A step", "      what it checks", "      a detail"]
    assert lines[4].startswith("      ✔ it does (0.")
    assert " 2/2 Another" in lines


async def test_a_failure_names_the_broken_hop_and_leaves_the_rest_out():
    stage: list[str] = []
    out = io.StringIO()
    assert not await run_steps([step(breaks), step(holds, "Another")], stage, Console(out))
    assert stage == ["breaks"]
    output = out.getvalue()
    assert "✘ no trace" in output
    assert "broken hop: collector → MLflow" in output
    assert "| 403 Forbidden" in output
    assert "look further: kagenti-devcluster logs" in output
    assert " 2/2 Another: skipped" in output


async def test_keep_going_runs_the_rest_and_still_fails():
    stage: list[str] = []
    assert not await run_steps([step(breaks), step(holds)], stage, Console(io.StringIO()), keep_going=True)
    assert stage == ["breaks", "holds"]


async def test_trouble_with_the_cluster_and_with_its_api_server_is_a_failed_step():
    async def no_answer(_: list[str]) -> Outcome:
        raise Unreachable("get Pod x: nobody there")

    async def no_start(_: list[str]) -> Outcome:
        raise DevClusterError("etcd exited with 1\nthe last lines of etcd.log:\npanic")

    out = io.StringIO()
    await run_steps([step(no_answer), step(no_start)], [], Console(out), keep_going=True)
    output = out.getvalue()
    assert "broken hop: the demo → API server" in output
    assert "✘ etcd exited with 1" in output
    assert "| panic" in output


async def test_a_file_gets_neither_colours_nor_notes():
    out = io.StringIO()
    console = Console(out)
    console.note("waiting")
    console.passed(Outcome("done"), 1.0)
    assert out.getvalue() == "      ✔ done (1.0 s)\n"


async def test_a_terminal_gets_both_and_the_note_is_wiped():
    out = Terminal()
    console = Console(out, {})
    console.note("waiting")
    console.passed(Outcome("done"), 1.0)
    assert "waiting" in out.getvalue()
    assert "\r\x1b[2K" in out.getvalue()
    assert "\x1b[32m✔\x1b[0m" in out.getvalue()


async def test_no_color_is_respected():
    out = Terminal()
    Console(out, {"NO_COLOR": "1"}).headline("hello")
    assert out.getvalue() == "hello\n"
