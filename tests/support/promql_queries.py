"""The PromQL of the chart's alerts and of its dashboard, and which series it asks for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

FILES = Path(__file__).parents[2] / "charts" / "kagenti-operator" / "files"
# What Grafana puts in before it asks.
_VARIABLES = re.compile(r"\$__rate_interval\b")


def read_rules() -> list[dict[str, Any]]:
    return yaml.safe_load((FILES / "alerts.yaml").read_text())


def read_panels() -> list[dict[str, Any]]:
    return json.loads((FILES / "dashboard.json").read_text())["panels"]


def rule_queries() -> list[tuple[str, str]]:
    """Beside each query, who asks it."""
    return [(f"alert {rule['alert']}", rule["expr"]) for rule in read_rules()]


def dashboard_queries() -> list[tuple[str, str]]:
    """Beside each query, who asks it."""
    return [
        (f"panel {panel['title']!r}", _VARIABLES.sub("5m", target["expr"]))
        for panel in read_panels()
        for target in panel.get("targets", ())
    ]


def names_and_labels(query: str) -> list[tuple[str, set[str]]]:
    """The series that a query selects, and the labels that it selects them by. Raises ValueError."""
    return list(_selected(promql_parser.parse(query)))


def _selected(expression: promql_parser.Expr) -> Iterator[tuple[str, set[str]]]:
    match expression:
        case promql_parser.VectorSelector():
            assert expression.name is not None, "a selector without a name selects everything"
            yield expression.name, {matcher.name for matcher in expression.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from _selected(expression.vector_selector)
        case promql_parser.BinaryExpr():
            yield from _selected(expression.lhs)
            yield from _selected(expression.rhs)
        case (
            promql_parser.AggregateExpr()
            | promql_parser.ParenExpr()
            | promql_parser.UnaryExpr()
            | promql_parser.SubqueryExpr()
        ):
            yield from _selected(expression.expr)
        case promql_parser.Call():
            for argument in expression.args:
                yield from _selected(argument)
        case _:
            return
