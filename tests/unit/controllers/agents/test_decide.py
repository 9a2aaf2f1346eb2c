"""What becomes of an agent: the rules of section 2.6 of the contract, each a case."""

from copy import replace

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import build_access
from kagenti_operator.controllers.agents.decide import Inject, Observed, Plan, Release, decide, is_served
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.rollout import Pending
from kagenti_operator.kube.objects.agents import AgentStatus, AgentWorkload
from kagenti_operator.kube.objects.models import OwnerReference
from kagenti_operator.kube.objects.rbac import Role, RoleBinding, RoleRef
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS
from kagenti_operator.runtime.control.applier import differs

from .workloads import EXPERIMENT, INJECTION, KEY, build_agent, environment, grantee, grantees_of

NEW = build_agent()
CONFIGURED = build_agent({"name": "agent", "env": environment()}, annotations=INJECTION.annotations(KAGENTI))
OPTED_OUT = build_agent(inject="disabled")
OPTED_OUT_AND_MARKED = build_agent(inject="disabled", annotations=INJECTION.annotations(KAGENTI))
OPTED_IN_AND_MARKED = CONFIGURED
DELETED = build_agent(deleted=True)
UNLABELLED = CONFIGURED
TWIN = build_agent(uid="u2", service_account="other")


def observe(
    agent: AgentWorkload | None,
    *,
    labelled: bool = True,
    twin: AgentWorkload | None = None,
    experiments: tuple[str, ...] = (),
    injection: Injection | None = None,
    granted_to: AgentWorkload | None = None,
    pending: Pending | None = None,
) -> Observed:
    """`granted_to`: there are Role and RoleBinding, which were made for that one."""
    served = labelled and is_served(agent)
    role = binding = None
    if granted_to:
        grant = build_access(KAGENTI, KEY, ("weather",), (grantee(granted_to),), experiment=EXPERIMENT)
        role, binding = msgspec.convert(grant[0], Role), msgspec.convert(grant[1], RoleBinding)
    return Observed(
        key=KEY,
        resource=AGENT_DEPLOYMENTS,
        agent=agent,
        served=served,
        grantees=grantees_of(agent, twin, served=served),
        role=role,
        binding=binding,
        experiments=experiments,
        common=EXPERIMENT if experiments else None,
        injection=injection,
        pending=pending,
        now=100.0,
    )


def actions(plan: Plan) -> tuple[str, ...]:
    """What is planned, in the order in which it is carried out."""
    planned = {
        "revoke": plan.revoke,
        "grant": plan.grant is not None,
        "inject": isinstance(plan.change, Inject),
        "release": isinstance(plan.change, Release),
        "delete the Role": plan.revoke,
        "forget": plan.over,
    }
    return tuple(action for action, is_planned in planned.items() if is_planned)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(observe(NEW), (), id="nothing known, nothing granted"),
        pytest.param(
            observe(NEW, experiments=("weather",)),
            ("grant",),
            id="MLflow away: a known agent keeps its grant",
        ),
        pytest.param(
            observe(NEW, experiments=("weather",), injection=INJECTION),
            ("grant", "inject"),
            id="a new agent is granted its experiment, and gets its environment",
        ),
        pytest.param(
            observe(CONFIGURED, experiments=("weather",), injection=INJECTION),
            ("grant",),
            id="a configured agent is not rolled",
        ),
        pytest.param(
            observe(NEW, injection=INJECTION), (), id="an environment without a grant would be refused"
        ),
        pytest.param(
            observe(OPTED_OUT, granted_to=NEW),
            ("revoke", "delete the Role", "forget"),
            id="who opts out loses the right",
        ),
        pytest.param(
            observe(OPTED_OUT_AND_MARKED, granted_to=NEW),
            ("revoke", "release", "delete the Role", "forget"),
            id="the right ends before the release, and the Role is kept until then",
        ),
        pytest.param(
            observe(OPTED_OUT_AND_MARKED, granted_to=NEW, injection=INJECTION),
            ("revoke", "release", "delete the Role", "forget"),
            id="who opts out while MLflow is asked is released",
        ),
        pytest.param(
            observe(OPTED_OUT_AND_MARKED, twin=TWIN, experiments=("weather",), granted_to=NEW),
            ("release", "forget"),
            id="a twin that is served keeps the right",
        ),
        pytest.param(
            observe(OPTED_OUT_AND_MARKED, twin=TWIN, granted_to=NEW),
            ("revoke", "release", "delete the Role", "forget"),
            id="no right is kept for a twin of which nothing is known",
        ),
        pytest.param(
            observe(UNLABELLED, labelled=False, granted_to=NEW),
            ("revoke", "release", "delete the Role", "forget"),
            id="without the label it is released too",
        ),
        pytest.param(
            replace(observe(OPTED_IN_AND_MARKED, granted_to=NEW), taken=True),
            ("revoke", "release", "delete the Role"),
            id="an experiment that is somebody else's is granted no longer",
        ),
        pytest.param(
            replace(observe(CONFIGURED, experiments=("weather",), granted_to=NEW), gone=True),
            ("grant", "release"),
            id="with MLflow gone for good the environment goes, and the grant waits for its return",
        ),
        pytest.param(
            replace(observe(NEW, experiments=("weather",), granted_to=NEW), gone=True),
            ("grant",),
            id="without an environment nothing is released",
        ),
        pytest.param(
            observe(None, granted_to=NEW),
            ("revoke", "delete the Role", "forget"),
            id="who is gone leaves no right behind",
        ),
        pytest.param(
            observe(None, twin=TWIN, experiments=("weather",), granted_to=NEW),
            ("forget",),
            id="the twin of who is gone keeps the right",
        ),
        pytest.param(
            observe(DELETED, granted_to=NEW),
            (),
            id="of who is being deleted everything goes with the workload",
        ),
    ],
)
def test_what_is_planned(observed: Observed, expected: tuple[str, ...]) -> None:
    assert actions(decide(KAGENTI, observed)) == expected


@pytest.mark.parametrize("injection", [None, INJECTION], ids=["MLflow is away", "MLflow is there"])
def test_the_grant_follows_the_service_account(injection: Injection | None) -> None:
    moved = build_agent(service_account="another")
    observed = observe(moved, experiments=("weather",), injection=injection, granted_to=NEW)
    grant = decide(KAGENTI, observed).grant
    assert grant is not None
    assert [subject["name"] for subject in grant.binding["subjects"]] == ["another"]
    assert differs(grant.binding, grant.known_binding)
    assert not differs(grant.role, grant.known_role)


def test_twins_share_a_grant() -> None:
    plan = decide(KAGENTI, observe(NEW, twin=TWIN, experiments=("weather",), granted_to=NEW))
    assert plan.grant is not None
    assert [subject["name"] for subject in plan.grant.binding["subjects"]] == ["default", "other"]


@pytest.mark.parametrize("reference", [("Role", "another"), ("ClusterRole", "kagenti-mlflow-weather")])
def test_a_binding_to_another_role_is_replaced(reference: tuple[str, str]) -> None:
    observed = observe(NEW, experiments=("weather",), granted_to=NEW)
    assert observed.binding is not None
    role_ref = RoleRef(kind=reference[0], name=reference[1])
    foreign = msgspec.structs.replace(observed.binding, role_ref=role_ref)
    grant = decide(KAGENTI, replace(observed, binding=foreign)).grant
    assert grant is not None
    assert grant.replaced is foreign
    assert grant.known_binding is None


def test_a_binding_to_its_own_role_is_not_replaced() -> None:
    grant = decide(KAGENTI, observe(NEW, experiments=("weather",), granted_to=NEW)).grant
    assert grant is not None
    assert grant.replaced is None


def test_an_owner_that_somebody_added_is_no_reason_to_write() -> None:
    observed = observe(NEW, experiments=("weather",), granted_to=NEW)
    role, binding = observed.role, observed.binding
    assert role is not None
    assert binding is not None
    theirs = OwnerReference(api_version="v1", kind="ConfigMap", name="theirs", uid="c1")
    owners = (theirs, *role.metadata.owner_references)
    metadata = msgspec.structs.replace(role.metadata, owner_references=owners)
    role = msgspec.structs.replace(role, metadata=metadata)
    binding = msgspec.structs.replace(binding, metadata=metadata)
    grant = decide(KAGENTI, replace(observed, role=role, binding=binding)).grant
    assert grant is not None
    assert not differs(grant.role, grant.known_role)
    assert not differs(grant.binding, grant.known_binding)


def test_variables_that_are_kept_are_reported_also_when_nothing_changes() -> None:
    theirs = {"name": "agent", "env": [{"name": "MLFLOW_TRACKING_URI", "value": "http://mine"}]}
    first = decide(KAGENTI, observe(build_agent(theirs), experiments=("weather",), injection=INJECTION))
    assert first.change is None
    configured = build_agent(
        {"name": "agent", "env": [*theirs["env"], *environment()[1:]]},
        annotations=INJECTION.annotations(KAGENTI),
    )
    again = decide(KAGENTI, observe(configured, experiments=("weather",), injection=INJECTION))
    assert again.change == Release()
    assert again.reports == first.reports
    (report,) = again.reports
    assert report.reason == "MLflowVariablesKept"
    assert "agent/MLFLOW_TRACKING_URI set by the workload itself" in report.message
    assert "nothing is put into this workload" in report.message


def test_a_name_that_is_kept_is_reported_also_when_nothing_changes() -> None:
    theirs = {"name": "agent", "env": [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]}
    first = decide(KAGENTI, observe(build_agent(theirs), experiments=("weather",), injection=INJECTION))
    assert isinstance(first.change, Inject)
    template = first.change.body["spec"]["template"]
    env = [*theirs["env"], *template["spec"]["containers"][0]["env"]]
    configured = build_agent({"name": "agent", "env": env}, annotations=template["metadata"]["annotations"])
    again = decide(KAGENTI, observe(configured, experiments=("weather",), injection=INJECTION))
    assert again.change is None
    assert again.reports == first.reports
    (report,) = again.reports
    assert report.reason == "MLflowVariablesKept"
    assert "agent/MLFLOW_EXPERIMENT_NAME set by the workload itself" in report.message


def test_where_nothing_is_kept_nothing_is_reported() -> None:
    assert decide(KAGENTI, observe(NEW, experiments=("weather",), injection=INJECTION)).reports == ()


def pending(generation: int = 2) -> Pending:
    return Pending(injection=INJECTION, generation=generation, since=100.0)


def with_pods(agent: AgentWorkload, *, updated: int, generation: int = 2) -> AgentWorkload:
    """One pod is wanted, and so many have the template."""
    status = AgentStatus(
        observed_generation=generation, replicas=1, updated_replicas=updated, available_replicas=1
    )
    metadata = msgspec.structs.replace(agent.metadata, generation=generation)
    return msgspec.structs.replace(agent, metadata=metadata, status=status)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        pytest.param(with_pods(CONFIGURED, updated=1), True, id="its pod has it"),
        pytest.param(with_pods(CONFIGURED, updated=0), False, id="its pod does not have it"),
        pytest.param(with_pods(CONFIGURED, updated=1, generation=1), False, id="seen before the write"),
        pytest.param(with_pods(NEW, updated=1), False, id="somebody took it out again"),
    ],
)
def test_where_traces_go_is_said_once_a_pod_has_it(agent: AgentWorkload, expected: bool) -> None:
    observed = observe(agent, experiments=("weather",), injection=INJECTION, pending=pending())
    assert decide(KAGENTI, observed).announce is expected
    assert not decide(KAGENTI, replace(observed, pending=None)).announce


def test_where_traces_go_is_not_said_of_who_cannot_use_it() -> None:
    spec = msgspec.structs.replace(CONFIGURED.spec.template.spec, automount_service_account_token=False)
    template = msgspec.structs.replace(CONFIGURED.spec.template, spec=spec)
    hardened = msgspec.structs.replace(
        CONFIGURED, spec=msgspec.structs.replace(CONFIGURED.spec, template=template)
    )
    agent = with_pods(hardened, updated=1)
    plan = decide(KAGENTI, observe(agent, experiments=("weather",), injection=INJECTION, pending=pending()))
    assert not plan.announce
    assert [report.reason for report in plan.reports] == ["MLflowNotUsable"]


def test_what_keeps_a_template_from_pods_is_reported_until_it_is_rolled_out() -> None:
    spec = msgspec.structs.replace(CONFIGURED.spec, paused=True)
    agent = with_pods(msgspec.structs.replace(CONFIGURED, spec=spec), updated=0)
    plan = decide(KAGENTI, observe(agent, experiments=("weather",), injection=INJECTION, pending=pending()))
    assert not plan.announce
    assert [report.reason for report in plan.reports] == ["MLflowNotRolledOut"]


def test_the_end_of_mlflow_is_reported_to_those_that_lose_their_environment() -> None:
    lost, never = (
        decide(KAGENTI, replace(observe(agent, experiments=("weather",)), gone=True))
        for agent in (CONFIGURED, NEW)
    )
    assert [report.reason for report in lost.reports] == ["MLflowGone"]
    assert never.reports == ()


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(replace(observe(NEW, granted_to=NEW), doubtful=True), id="in doubt"),
        pytest.param(observe(DELETED, granted_to=DELETED), id="being deleted"),
        pytest.param(observe(OPTED_OUT_AND_MARKED, granted_to=OPTED_OUT_AND_MARKED), id="released"),
        pytest.param(replace(observe(NEW, granted_to=NEW), taken=True), id="its experiment is another's"),
    ],
)
def test_a_role_that_others_grant_is_emptied_whatever_the_agent_is(observed: Observed) -> None:
    assert observed.binding
    eves = msgspec.structs.replace(observed.binding, subjects=())
    assert decide(KAGENTI, observed).empty is None
    plan = decide(KAGENTI, replace(observed, foreign=(eves,)))
    assert plan.empty is not None
    assert plan.empty["rules"] == []
    # It is changed in nothing else.
    assert observed.role
    applied = msgspec.convert(plan.empty, Role)
    assert not differs({"metadata": plan.empty["metadata"]}, observed.role)
    assert applied.metadata.owner_references == observed.role.metadata.owner_references
