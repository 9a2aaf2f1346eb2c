"""Makes a plan that fails as small as it gets, and prints it as a test."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.support.simulation.invariants import Violation
from tests.support.simulation.plan import Plan

MOST_TRIES = 150

type Find = Callable[[Plan], list[Violation]]


def shrink(plan: Plan, what: str, find: Find) -> Plan:
    """The smallest plan found in which the invariant `what` does not hold either."""
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            tries += 1
            if tries > MOST_TRIES:
                return plan
            if any(violation.what == what for violation in find(candidate)):
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Without a half of the faults or actions, then without each, then with one replica."""
    for size in (2, 1):
        for name in ("faults", "actions"):
            items = getattr(plan, name)
            length = max(len(items) // 2, 1) if size == 2 else 1
            if size == 1 or len(items) > 2:
                for start in range(0, len(items), length):
                    yield replace(plan, **{name: items[:start] + items[start + length :]})
    if plan.replicas > 1:
        yield replace(plan, replicas=1)
    if plan.openshift:
        yield replace(plan, openshift=False)


def print_test(plan: Plan, seed: int, violations: list[Violation]) -> str:
    """A test to be pasted into tests/simulation/test_found.py."""
    said = "\n".join(f"    # {line}" for it in violations for line in f"{it.what}: {it.text}".splitlines())
    fields = [f"dice={plan.dice}", f"replicas={plan.replicas}"]
    fields += [f"openshift={plan.openshift}", f"workspace={plan.workspace!r}"]
    for name in ("actions", "faults"):
        items = "".join(f"            {item!r},\n" for item in getattr(plan, name))
        fields.append(f"{name}=(\n{items}        )" if items else f"{name}=()")
    body = "".join(f"        {field},\n" for field in fields)
    plan_text = f"    plan = Plan(\n{body}    )\n    assert not find_violations(plan)\n"
    return f"def test_seed_{seed}() -> None:\n{said}\n{plan_text}"
