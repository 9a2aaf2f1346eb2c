"""Which file is written when, and whose pods are replaced."""

import pytest

from kagenti_operator.controllers.authbridge.outcome import Injected, Refused, Unchanged
from kagenti_operator.controllers.authbridge.upkeep import NO_SIDECAR, Observed, Plan, plan_upkeep

OUTCOME = Injected(pod={}, config="text", restart_hash="new")


@pytest.mark.parametrize(
    ("name", "observed", "expected"),
    [
        ("before its first pod", Observed(outcome=OUTCOME, has_pods=False), Plan()),
        ("pods from before AuthBridge", Observed(outcome=OUTCOME), Plan(make=True, roll="new")),
        (
            "the same, waiting for its turn",
            Observed(outcome=OUTCOME, file_hash="new", recorded=NO_SIDECAR),
            Plan(write=True, roll="new"),
        ),
        (
            "the same, interrupted after its pods were replaced",
            Observed(outcome=OUTCOME, file_hash="new", recorded=NO_SIDECAR, rolled="new"),
            Plan(write=True, record="new"),
        ),
        ("as admitted", Observed(outcome=OUTCOME, file_hash="new"), Plan(write=True)),
        ("as admitted before", Observed(outcome=OUTCOME, file_hash="old"), Plan(roll="new")),
        (
            "replaced, and the new pods not admitted yet: replicas run on the file",
            Observed(outcome=OUTCOME, file_hash="old", rolled="new", recorded="new"),
            Plan(),
        ),
        (
            "replaced",
            Observed(outcome=OUTCOME, file_hash="new", rolled="new", recorded="new"),
            Plan(write=True),
        ),
        (
            "one pod was evicted before its turn, others run on",
            Observed(outcome=OUTCOME, file_hash="new", rolled="old", recorded="old"),
            Plan(write=True, roll="new"),
        ),
        (
            "its user changed the template, and so replaces the pods",
            Observed(outcome=OUTCOME, file_hash="old", rolled="old", recorded="old", template_changed=True),
            Plan(record="new"),
        ),
        (
            "nothing runs",
            Observed(outcome=OUTCOME, file_hash="old", rolled="old", recorded="old", has_pods=False),
            Plan(record="new"),
        ),
        ("it has its sidecar already", Observed(outcome=Injected(pod={})), Plan()),
        ("it is left alone", Observed(outcome=Unchanged(), file_hash="old"), Plan()),
    ],
    ids=lambda it: it.replace(" ", "-") if isinstance(it, str) else "",
)
def test_the_plan(name: str, observed: Observed, expected: Plan) -> None:
    assert plan_upkeep(observed) == expected, name


def test_what_is_refused_keeps_the_last_good_file_and_is_reported() -> None:
    refused = Refused("AuthBridge: ConfigMap authbridge-config lacks ISSUER", ("first.", "second"))
    plan = plan_upkeep(Observed(outcome=refused, file_hash="old"))
    assert (plan.write, plan.roll, plan.record, plan.make) == (False, "", "", False)
    warning, refusal = plan.reports
    assert warning.message == "first. second."
    assert refusal.reason == "AuthBridgeRefused"
    assert "lacks ISSUER. Pods that run keep what they have" in refusal.message


def test_a_plan_that_was_carried_out_is_the_last() -> None:
    """At rest nothing is written: what follows from a plan is a workload of which nothing is planned."""
    for recorded, file_hash in (("", "new"), ("new", "new"), ("new", "old")):
        plan = plan_upkeep(Observed(outcome=OUTCOME, file_hash=file_hash, rolled="new", recorded=recorded))
        assert (plan.roll, plan.record, plan.make) == ("", "", False)
