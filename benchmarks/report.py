"""Keeps what was measured in docs/performance.json, and draws up the tables and the figure from it."""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.subject import ROOT
from kagenti_devcluster.toolchain import environments

RESULTS = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
FIGURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured by make bench: begin -->", "<!-- end -->"

type Results = dict[str, dict[str, Any]]
type Cell = Callable[[dict[str, Any]], str]

FLEETS = {
    "200x1": "200x1",
    "1000x5": "1,000x5",
    "1000x10": "1,000x10",
    "configured": "1,000x10, all configured",
}
FLEET_ROWS: Mapping[str, Cell] = {
    "reaction p50 / p99 / max, ms": lambda f: _reaction(f["reaction"]),
    "the same from the request that creates the agent, p50 / p99": lambda f: _from_request(f["reaction"]),
    "process start to first / last binding, s": lambda f: (
        f"{f['start']['first_binding_seconds']} / {f['start']['last_binding_seconds']}"
    ),
    "bindings per second at the start": lambda f: f"{f['start']['bindings_per_second']:.0f}",
    "a bare client of the same library, in the same run": lambda f: f"{f['bare']['kube']:.0f}",
    "raw aiohttp, in the same run": lambda f: f"{f['bare']['aiohttp']:.0f}",
    "resident / peak memory, MiB": lambda f: (
        f"{f['memory']['resident_mib']:.0f} / {f['memory']['peak_mib']:.0f}"
    ),
    "CPU per agent that appears, ms": lambda f: f"{f['ms_per_agent']}",
    "CPU per change that needs nothing, ms": lambda f: f"{f['ms_per_change']:.2f}",
    "CPU at rest, of one core": lambda f: f"{f['rest']['core_percent']:.2f} %",
    "requests per minute at rest": lambda f: _requests(f["rest"]),
    "shutdown, s": lambda f: f"{f['stop_seconds']}",
}
DAYS = {
    "ordinary": "an ordinary day",
    "relist": "every watch answered `410 Gone`, 10,000 agents listed again, three times",
    "slow": "the API server answers every request 0.2 s late",
    "refused": "writes to 200 other namespaces are refused with 429",
    "crowd": "one other namespace gets 2,000 agents",
}


def keep(machine: dict[str, str], name: str, found: dict[str, Any]) -> None:
    """Add one measurement. Figures of another machine go, because nobody could compare them."""
    results = _load()
    if results.get("machine") != machine:
        results = {"machine": machine}
    results[name] = found
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def write() -> None:
    """Bring page and figure up to date with what was kept."""
    results = _load()
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{_render(results)}\n{END}{after}")
    plot = ROOT / "benchmarks" / "plot.py"
    subprocess.run([environments.ensure("plot"), "-P", plot, RESULTS, FIGURE], check=True)


def _load() -> Results:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _render(results: Results) -> str:
    machine = results["machine"]
    parts = [
        f"On {machine['cpu']}, {machine['cores']} cores, {machine['memory']}, {machine['kernel']}, Python "
        f"{machine['python']}.\n"
    ]
    fleets = {title: results[name] for name, title in FLEETS.items() if name in results}
    if "200x1" in results and "1000x10" in results:
        goals = [*_goals(results["200x1"], results["1000x10"])]
        if full := results.get("configured"):
            peak = full["memory"]["peak_mib"]
            goals.append(("peak memory at 1,000x10, all configured", "up to 80 MiB", f"{peak} MiB"))
        if huge := results.get("100000-mock"):
            peak, settled = huge["memory"]["peak_mib"], huge["settled_seconds"]
            goals.append(("peak memory at 100,000, all configured", "up to 256 MiB", f"{peak} MiB"))
            goals.append(("process start until all of these are looked at", "under 25 s", f"{settled} s"))
        parts.append(_table(("to reach", "goal", "measured"), goals))
    if fleets:
        rows = ((label, *(_cell(cell, f) for f in fleets.values())) for label, cell in FLEET_ROWS.items())
        parts.append(_table(("fleet", *fleets), rows))
    if "100000-mock" in results:
        huge = results["100000-mock"]
        title = f"{huge['agents']:,} configured agents of a mock API server"
        parts.append(_table((title, ""), _huge(huge)))
    if "agents" in results:
        parts.append(_table(("configuring agents", ""), _agents(results["agents"])))
    if "admission" in results:
        head = ("AuthBridge's webhook, 100 pods per second in 1,000 namespaces", "p50 / p99 / max, ms")
        parts.append(_table(head, _admission(results["admission"])))
    if "labels" in results:
        head = ("from a workload's label to its environment, on the local cluster", "p50 / max, s")
        parts.append(_table(head, _labels(results["labels"])))
    if "troubles" in results:
        days = ((title, _reaction(results["troubles"][day])) for day, title in DAYS.items())
        parts.append(_table(("reaction of everybody else, 1,000x10", "p50 / p99 / max, ms"), days))
    if "soak" in results:
        parts.append(_table(("soak", "before", "after"), _soak(results["soak"])))
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(cell: Cell, found: dict[str, Any]) -> str:
    try:
        return cell(found)
    except KeyError:
        return ""


def _goals(small: dict[str, Any], large: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    p99 = large["reaction"]["p99_ms"]
    times = p99 / small["reaction"]["p99_ms"]
    part = large["start"]["bindings_per_second"] / large["bare"]["kube"]
    last = large["start"]["last_binding_seconds"]
    yield "reaction p99 at 1,000x10", "under 25 ms", f"{p99} ms"
    yield "the same beside 200x1", "up to 1.5 times", f"{times:.2f} times"
    yield "peak memory at 1,000x10", "under 96 MiB", f"{large['memory']['peak_mib']} MiB"
    yield "process start to the last of 1,000 bindings", "under 6 s", f"{last} s"
    yield "bindings per second, beside the bare client's", "80 % or more", f"{100 * part:.0f} %"
    yield "CPU at rest", "under 0.5 % of a core", f"{large['rest']['core_percent']:.2f} %"
    yield "requests per minute at rest", "lease renewals and watches", _requests(large["rest"])
    yield "shutdown", "under 1 s", f"{large['stop_seconds']} s"


def _huge(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    memory = found["memory"]
    yield "process start until each is looked at, s", f"{found['settled_seconds']}"
    yield "CPU until then, s", f"{found['cpu_seconds']}"
    yield "resident / peak memory, MiB", f"{memory['resident_mib']:.0f} / {memory['peak_mib']:.0f}"
    yield "CPU per change that needs nothing, ms", f"{found['ms_per_change']:.2f}"
    yield "shutdown, s", f"{found['stop_seconds']}"


def _agents(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "agents", f"{found['agents']}"
    yield "configured per second, everything of section 2.6", f"{found['agents_per_second']}"
    yield "experiments per second by a bare client of MLflow, in the same run", f"{found['bare_per_second']}"
    yield "process start to the last agent, s", f"{found['last_agent_seconds']}"
    yield "CPU per agent, ms", f"{1000 * found['cpu_seconds'] / found['agents']:.1f}"


def _admission(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "from the caches (goal: p99 under 10 ms)", _reaction(found["known"])
    yield "the first pod of a workload, whose file is written", _reaction(found["first"])
    yield "CPU per pod, ms", f"{found['cpu_ms_per_pod']}"
    yield "peak memory, MiB", f"{found['memory']['peak_mib']}"


def _labels(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for profile, times in found.items():
        yield profile, f"{times['p50_seconds']} / {times['max_seconds']}"


def _soak(found: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    before, after = found["before"], found["after"]
    yield "agents made or deleted", "", f"{found['events']:,}"
    for name, title in {
        "tasks": "tasks",
        "sockets": "sockets",
        "entries": "entries in caches, queues and other collections",
        "resident_mib": "resident memory, MiB",
    }.items():
        yield title, f"{before[name]}", f"{after[name]}"


def _reaction(found: dict[str, Any]) -> str:
    return f"{found['p50_ms']} / {found['p99_ms']} / {found['max_ms']}"


def _from_request(found: dict[str, Any]) -> str:
    return f"{found['from_request_p50_ms']} / {found['from_request_p99_ms']}"


def _requests(rest: dict[str, Any]) -> str:
    per_minute: dict[str, float] = rest["requests_per_minute"]
    # Of GETs there are only watches at rest; the tests look at each request (test_steadiness.py).
    return ", ".join(f"{rate:g} {kind.removesuffix(' 200')}" for kind, rate in per_minute.items())
