"""Writes docs/reference.md from the code, and the figures of docs/sizing.md from what was measured.

`make reference` runs it; a test compares both files with what it would write.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kagenti_operator import contract
from kagenti_operator.cli import check, run
from kagenti_operator.cli.errors import ExitStatus
from kagenti_operator.cli.flags import Parser
from kagenti_operator.contract import KAGENTI, Names
from kagenti_operator.controllers.agents.experiments import POLLS_PER_SECOND
from tools.reference_texts import EVENTS, EXIT_STATUS, MLFLOW_ANNOTATIONS, NO_EVENTS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "kagenti_operator"
CHART = ROOT / "charts" / "kagenti-operator"
REFERENCE = ROOT / "docs" / "reference.md"
SIZING = ROOT / "docs" / "sizing.md"
BEGIN, END = "<!-- made by make reference: begin -->", "<!-- end -->"
REASON = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Z][A-Za-z]*")
METRIC_TYPES = {
    "Counter": "counter",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "GaugeMetricFamily": "gauge",
    "gauge": "gauge",
}
HEAD = """\
# Reference

Every name that the operator gives, takes or shows. `make reference` writes this page from the code, and a
test holds it to that. Names are those on Kagenti; on Rossoctl `rossoctl` stands for `kagenti`. What of it is
fixed is in the [contract](contract.md).

- [Labels](#labels), [annotations](#annotations) and [agents' variables](#agents-variables)
- [Events](#events), [log lines](#log-lines) and [metrics](#metrics)
- [Flags](#flags), [chart values](#chart-values) and [exit codes](#exit-codes)
"""


class Outdated(Exception):
    """The texts of the reference and the code do not name the same things."""


def render_reference() -> str:
    """The whole page. Raises Outdated where the code has a name without a text, or the other way round."""
    parts = [
        HEAD,
        "## Labels\n\n" + _table(("label", "on", "meaning"), _labels()),
        "## Annotations\n\n" + _table(("annotation", "on", "meaning"), _annotations()),
        "## Agents' variables\n\nIn every container of an agent, unless the workload sets the variable "
        "itself.\n\n" + _table(("variable",), ((f"`{name}`",) for name in contract.AGENT_VARIABLES)),
        "## Events\n\nA reason with `Resolved` at its end says that what it names is over. What to do is in "
        "the Event itself, and in [troubleshooting](troubleshooting.md).\n\n"
        + _table(("reason", "type", "on", "meaning"), _events()),
        "## Log lines\n\nLines that others may look for, word for word.\n\n"
        + _table(("message",), ((f"`{line}`",) for line in _log_lines())),
        "## Metrics\n\nWho may read them, and what they mean in practice: [metrics](metrics.md). Beside "
        "these are the process's own, `process_*`.\n\n"
        + _table(("metric", "type", "labels", "meaning"), _metrics()),
        "## Flags\n",
        *_flags(),
        "## Chart values\n\n" + _table(("value", "default", "meaning"), _values()),
        "## Exit codes\n\n" + _table(("code", "meaning"), _exit_codes()),
    ]
    return "\n".join(parts)


def render_sizing(page: str) -> str:
    """The page on sizing with its table made anew from docs/performance.json."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    results = json.loads((ROOT / "docs" / "performance.json").read_text())
    return f"{before}{BEGIN}\n\n{_table(('', 'measured'), _sizes(results))}\n{END}{after}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _labels() -> Iterator[tuple[str, str, str]]:
    yield f"`{KAGENTI.agent_selector}`", "workload", "this is an agent"
    for selector in contract.KNOWN_AGENT_SELECTORS:
        if selector != KAGENTI.agent_selector:
            yield (
                f"`{selector}`",
                "workload",
                "an agent where this is the platform's label or in `agents.selectors`",
            )
    managed = f"`{contract.MANAGED_BY_LABEL}={KAGENTI.manager}`"
    yield managed, "what the operator makes", "the operator writes it, and may delete it"


def _annotations() -> Iterator[tuple[str, str, str]]:
    for name, member in vars(Names).items():
        if isinstance(member, property) and name.endswith("_annotation"):
            on, _, meaning = (member.__doc__ or "").partition(": ")
            yield f"`{getattr(KAGENTI, name)}`", _lower(on.removeprefix("On ")), meaning.rstrip(".")
    used = set(_used_annotations())
    _compare("annotations", used, MLFLOW_ANNOTATIONS)
    for name, (on, meaning) in MLFLOW_ANNOTATIONS.items():
        yield f"`{KAGENTI.mlflow_annotation(name)}`", on, meaning


def _used_annotations() -> Iterator[str]:
    """By constants, or by the name of one; those of a variable are also written out somewhere."""
    for call, lists in _calls():
        if _name_of(call) == "mlflow_annotation":
            match call.args:
                case [ast.Constant(value=str() as name)]:
                    yield name
                case [ast.Name(id=name)]:
                    yield from lists.get(name, ())
                case _:
                    continue


def _events() -> Iterator[tuple[str, str, str, str]]:
    normal = set(_normal_reasons())
    _compare("Event reasons", set(_reasons()) - NO_EVENTS, EVENTS)
    for reason, (on, meaning) in sorted(EVENTS.items(), key=lambda it: it[0].lower()):
        yield f"`{reason}`", "Normal" if reason in normal else "Warning", on, meaning


def _reasons() -> Iterator[str]:
    """Every word of the controllers, and of the leader election, that looks like a reason."""
    for path in (*(SOURCE / "controllers").rglob("*.py"), SOURCE / "runtime" / "election" / "leader.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str() as word) if REASON.fullmatch(word):
                    yield word
                case _:
                    continue


def _normal_reasons() -> Iterator[str]:
    for call, _ in _calls():
        words = {k.arg: k.value for k in call.keywords}
        match words.get("type"), words.get("reason"):
            case ast.Constant(value="Normal"), ast.Constant(value=str() as reason):
                yield reason
            case _ if _name_of(call) == "normal":
                yield from (
                    a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
                )
            case _:
                continue


def _log_lines() -> Iterator[str]:
    return (value for name, value in vars(contract).items() if name.startswith("LOG_"))


def _metrics() -> Iterator[tuple[str, str, str, str]]:
    found = {row[0]: row for call, lists in _calls() if (row := _metric(call, lists))}
    return iter(row for _, row in sorted(found.items()))


def _metric(call: ast.Call, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str, str] | None:
    kind, args = METRIC_TYPES.get(_name_of(call)), call.args
    match args:
        case [ast.Constant(value=str() as name), ast.Constant(value=str() as text), *rest] if kind:
            given = rest[0] if rest else next((k.value for k in call.keywords if k.arg == "labels"), None)
            is_gauge = _name_of(call) == "gauge"
            labels = () if given is None or is_gauge else _strings(given, lists)
            return f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), text.replace("<", "&lt;")
        case _:
            return None


def _strings(node: ast.expr, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The strings of a tuple, in which names of other tuples may be unpacked."""
    match node:
        case ast.Tuple(elts=elements):
            return tuple(text for element in elements for text in _strings(element, lists))
        case ast.Starred(value=inner):
            return _strings(inner, lists)
        case ast.Name(id=name):
            return lists[name]
        case ast.Constant(value=str() as text):
            return (text,)
        case _:
            raise Outdated(f"cannot read the labels of a metric: {ast.unparse(node)}")


def _calls() -> Iterator[tuple[ast.Call, Mapping[str, tuple[str, ...]]]]:
    """Every call in the operator's code, each with the strings that its file names, one or several."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        lists: dict[str, tuple[str, ...]] = {}
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple() as value):
                    texts = [e.value for e in value.elts if isinstance(e, ast.Constant)]
                    lists[name] = tuple(text for text in texts if isinstance(text, str))
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str() as text)):
                    lists[name] = (text,)
                case ast.Call():
                    yield node, lists
                case _:
                    continue


def _name_of(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _flags() -> Iterator[str]:
    commands = Parser().add_subparsers()
    run.add_parser(commands)
    check.add_parser(commands)
    for command, parser in commands.choices.items():
        actions = parser._actions  # pyright: ignore[reportPrivateUsage]
        rows = (_flag(action) for action in actions if action.dest != "help")
        yield f"### kagenti-operator {command}\n"
        yield _table(("flag", "default", "meaning"), rows)


def _flag(action: argparse.Action) -> tuple[str, str, str]:
    choices = "|".join(map(str, action.choices)) if action.choices else ""
    default = action.default
    if isinstance(default, Names):
        default = default.prefix
    if isinstance(default, bool):
        default = str(default).lower()
    shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default else ""
    text = re.sub(
        r" \((default: %\(default\)s|default|default: (true|\d+|auto|kagenti|json|info))\)",
        "",
        action.help or "",
    )
    return f"`{action.option_strings[0]} {action.metavar or choices}`", shown, text


def _values() -> Iterator[tuple[str, str, str]]:
    schema = json.loads((CHART / "values.schema.json").read_text())
    text = (CHART / "values.yaml").read_text()
    node = yaml.compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise Outdated("values.yaml is no mapping")
    yield from _leaves(node, yaml.safe_load(text), schema, text.splitlines(), path="", above="")


def _leaves(
    node: yaml.MappingNode,
    values: Mapping[str, Any],
    schema: Mapping[str, Any],
    lines: list[str],
    *,
    path: str,
    above: str,
) -> Iterator[tuple[str, str, str]]:
    """Every value below a mapping; `above`: what is said of the mapping as a whole."""
    for key, below in node.value:
        name, said = f"{path}{key.value}", _comment(lines, key.start_mark.line)
        value, rules = values[key.value], schema.get("properties", {}).get(key.value, {})
        closed = rules.get("additionalProperties") is False
        if isinstance(below, yaml.MappingNode) and closed and _is_explained(below, lines):
            yield from _leaves(below, value, rules, lines, path=f"{name}.", above=said)
            continue
        if key.value == "enable":
            said = " ".join(filter(None, (above, said)))
        if not said:
            raise Outdated(f"values.yaml says nothing of {name}")
        yield f"`{name}`", f"`{json.dumps(value, ensure_ascii=False)}`", said


def _is_explained(node: yaml.MappingNode, lines: list[str]) -> bool:
    """Whether something is said of single values of a mapping, and not of all together."""
    keys = (key for key, _ in node.value)
    return any(key.value == "enable" or _comment(lines, key.start_mark.line) for key in keys)


def _comment(lines: list[str], line: int) -> str:
    """The comment right above a line."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().lstrip("# "))
    return " ".join(found)


def _exit_codes() -> Iterator[tuple[str, str]]:
    _compare(
        "exit codes",
        {status.name for status in ExitStatus},
        {status.name: text for status, text in EXIT_STATUS.items()},
    )
    return ((f"`{status.value}`", text) for status, text in EXIT_STATUS.items())


def _sizes(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    full, huge, rest = results["configured"], results["100000-mock"], results["configured"]["rest"]
    small, large = full["memory"]["peak_mib"], huge["memory"]["peak_mib"]
    per_thousand = (large - small) / (huge["agents"] - 10_000) * 1000
    yield "peak memory, 10,000 agents in 1,000 namespaces, all configured", f"{small:.0f} MiB"
    yield f"peak memory, {huge['agents']:,} agents, all configured", f"{large:.0f} MiB"
    yield "memory for each further thousand agents", f"{per_thousand:.1f} MiB"
    yield "CPU at rest, of one core", f"{rest['core_percent']:.2f} %"
    yield "CPU for an agent that appears", f"{full['ms_per_agent']:.1f} ms"
    yield "an agent's namespace is granted to the collector (p99)", f"{full['reaction']['p99_ms']:.0f} ms"
    yield "process start to the last of 1,000 bindings", f"{full['start']['last_binding_seconds']:.0f} s"
    yield f"process start until {huge['agents']:,} agents are looked at", f"{huge['settled_seconds']:.0f} s"
    yield (
        "agents that get experiment and environment, per second",
        f"{results['agents']['agents_per_second']:.0f}",
    )
    for agents in (600, 10_000, 100_000):
        # As an agent's next look is drawn: up to a tenth later.
        seconds = 1.1 * max(contract.POLL_SECONDS, agents / POLLS_PER_SECOND)
        yield (
            f"a renamed or deleted experiment is noticed, {agents:,} agents, at most",
            f"{seconds / 60:.0f} min",
        )


def _compare(what: str, found: set[str], texts: Mapping[str, Any]) -> None:
    if missing := sorted(found - texts.keys()):
        raise Outdated(f"tools/reference_texts.py says nothing of these {what}: {', '.join(missing)}")
    if left := sorted(texts.keys() - found):
        raise Outdated(f"tools/reference_texts.py has {what} that the code has not: {', '.join(left)}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


if __name__ == "__main__":
    REFERENCE.write_text(render_reference())
    SIZING.write_text(render_sizing(SIZING.read_text()))
