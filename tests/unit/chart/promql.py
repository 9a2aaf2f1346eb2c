"""Just enough of PromQL to ask the chart's alerts whether they fire, for series that a test makes up.

`rate` and `increase` return the series as they are: a test gives what they would come to. Quantiles of
histograms are not worked out: they answer nothing.
"""

import operator
from collections.abc import Callable, Iterable, Mapping

import promql_parser as promql

type Labels = frozenset[tuple[str, str]]
type Series = tuple[str, Labels]
type Vector = dict[Labels, float]

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"==": operator.eq, ">": operator.gt}
_AGGREGATE: Mapping[str, Callable[[Iterable[float]], float]] = {"max": max, "sum": sum}


def series(name: str, /, **labels: str) -> Series:
    """A series by its name and labels."""
    return name, frozenset(labels.items())


def _only(labels: Labels, names: set[str]) -> Labels:
    return frozenset((name, text) for name, text in labels if name in names)


def _fits(labels: Labels, matcher: promql.Matcher) -> bool:
    return ((matcher.name, matcher.value) in labels) is (matcher.op == promql.MatchOp.Equal)


class Moment:
    """All series at one moment; `now`: what `time()` says."""

    def __init__(self, samples: Mapping[Series, float], *, now: float = 0.0) -> None:
        self._samples = samples
        self._now = now

    def ask(self, query: str) -> Vector:
        """What Prometheus answers."""
        return self._vector(promql.parse(query))

    def _vector(self, expression: promql.Expr) -> Vector:
        answer = self._evaluate(expression)
        assert isinstance(answer, dict), f"a number: {expression.prettify()}"
        return answer

    def _evaluate(self, expression: promql.Expr) -> Vector | float:
        match expression:
            case promql.NumberLiteral():
                return expression.val
            case promql.ParenExpr():
                return self._evaluate(expression.expr)
            case promql.VectorSelector():
                return self._select(expression)
            case promql.MatrixSelector():
                return self._select(expression.vector_selector)
            case promql.AggregateExpr():
                return self._aggregate(expression)
            case promql.BinaryExpr():
                return self._combine(expression)
            case promql.Call():
                return self._call(expression)
            case _:
                raise ValueError(f"not understood here: {expression.prettify()}")

    def _select(self, selector: promql.VectorSelector) -> Vector:
        matchers = selector.matchers.matchers
        equal = (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
        assert all(matcher.op in equal for matcher in matchers)
        found = {labels: value for (name, labels), value in self._samples.items() if name == selector.name}
        return {labels: value for labels, value in found.items() if all(_fits(labels, it) for it in matchers)}

    def _aggregate(self, expression: promql.AggregateExpr) -> Vector:
        by = set(expression.modifier.labels) if expression.modifier else set[str]()
        groups: dict[Labels, list[float]] = {}
        for labels, value in self._vector(expression.expr).items():
            groups.setdefault(_only(labels, by), []).append(value)
        return {labels: _AGGREGATE[str(expression.op)](values) for labels, values in groups.items()}

    def _combine(self, expression: promql.BinaryExpr) -> Vector:
        left, right, sign = self._evaluate(expression.lhs), self._evaluate(expression.rhs), str(expression.op)
        match left, right, sign:
            case dict(), dict(), "and":
                assert expression.modifier is not None
                assert expression.modifier.matching is not None
                on = set(expression.modifier.matching.labels)
                present = {_only(labels, on) for labels in right}
                return {labels: value for labels, value in left.items() if _only(labels, on) in present}
            case dict(), dict(), "or":
                return right | left
            case dict(), dict(), "-":
                return {labels: left[labels] - right[labels] for labels in left.keys() & right.keys()}
            case float(), dict(), "-":
                return {labels: left - value for labels, value in right.items()}
            case dict(), float(), _:
                return {labels: value for labels, value in left.items() if _COMPARE[sign](value, right)}
            case _:
                raise ValueError(f"not understood here: {expression.prettify()}")

    def _call(self, call: promql.Call) -> Vector | float:
        match call.func.name:
            case "time":
                return self._now
            case "absent":
                return {} if self._vector(call.args[0]) else {frozenset(): 1.0}
            case "rate" | "increase":
                return self._evaluate(call.args[0])
            case "histogram_quantile":
                return {}
            case name:
                raise ValueError(f"function not understood here: {name}")
