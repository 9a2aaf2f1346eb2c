"""Whatever is observed: nothing is granted by no name, and what was carried out needs no second write."""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.access import build_access
from kagenti_operator.controllers.agents.decide import Inject, Observed, Plan, Release, decide, is_served
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.kube.manifests import Manifest
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.objects.models import OwnerReference
from kagenti_operator.kube.objects.rbac import RbacObject, Role, RoleBinding, RoleRef
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS
from kagenti_operator.runtime.control.applier import differs

from .workloads import EXPERIMENT, KEY, build_agent, grantee, grantees_of

FOREIGN = OwnerReference(api_version="v1", kind="ConfigMap", name="theirs", uid="c1")

names = st.sampled_from(["weather", "renamed"])
variables = st.sampled_from(
    ["MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_AUTH", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"]
)
environments = st.dictionaries(variables, st.sampled_from(["a", "7", "weather"]), max_size=3)
injections = st.builds(
    Injection,
    tracking_uri=st.sampled_from(["a", "https://mlflow"]),
    experiment_id=st.sampled_from(["a", "7"]),
    experiment_name=names,
    workspace=st.just("team1"),
)


@dataclass(frozen=True)
class Workload:
    """A workload by who owns what of it; `theirs` and `ours` are the environments of its containers."""

    theirs: tuple[Mapping[str, str], ...]
    ours: tuple[Mapping[str, str], ...]
    annotations: Mapping[str, str]
    inject: str | None
    deleted: bool

    @property
    def is_shared(self) -> bool:
        """Whether somebody wrote a value that we had written as well."""
        return any(theirs.items() & ours.items() for theirs, ours in zip(self.theirs, self.ours, strict=True))

    @property
    def agent(self) -> AgentWorkload:
        containers = [
            {"name": f"c{i}", "env": [{"name": n, "value": v} for n, v in {**ours, **theirs}.items()]}
            for i, (theirs, ours) in enumerate(zip(self.theirs, self.ours, strict=True))
        ]
        return build_agent(
            *containers, annotations=self.annotations, inject=self.inject, deleted=self.deleted
        )

    def apply(self, body: Manifest) -> "Workload":
        """Server-side apply: what we leave out and alone own goes; what we set is no longer only theirs."""
        template: Any = body.get("spec", {}).get("template", {})
        containers = template.get("spec", {}).get("containers", [{"env": []}] * len(self.ours))
        ours = tuple({var["name"]: var["value"] for var in container["env"]} for container in containers)
        theirs = tuple(
            {name: value for name, value in before.items() if applied.get(name, value) == value}
            for before, applied in zip(self.theirs, ours, strict=True)
        )
        annotations = template.get("metadata", {}).get("annotations", {})
        return replace(self, theirs=theirs, ours=ours, annotations=annotations)


@dataclass(frozen=True)
class Case:
    workload: Workload | None
    observed: Observed

    def carry_out(self, plan: Plan) -> "Case":
        """The same agent after the plan was carried out."""
        role, binding, workload = self.observed.role, self.observed.binding, self.workload
        if plan.revoke:
            role = binding = None
        if plan.grant:
            role = with_foreign_owners(msgspec.convert(plan.grant.role, Role), role)
            kept = None if plan.grant.replaced else binding
            binding = with_foreign_owners(msgspec.convert(plan.grant.binding, RoleBinding), kept)
        if workload and isinstance(plan.change, Inject):
            workload = workload.apply(plan.change.body)
        if workload and isinstance(plan.change, Release):
            workload = workload.apply({})
        agent = workload.agent if workload else None
        return Case(workload, replace(self.observed, role=role, binding=binding, agent=agent))


def with_foreign_owners[T: RbacObject](applied: T, before: T | None) -> T:
    """An apply leaves those owners alone that others added."""
    if before is None or FOREIGN not in before.metadata.owner_references:
        return applied
    owners = (FOREIGN, *applied.metadata.owner_references)
    metadata = msgspec.structs.replace(applied.metadata, owner_references=owners)
    return msgspec.structs.replace(applied, metadata=metadata)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    theirs = tuple(draw(st.lists(environments, min_size=1, max_size=2)))
    workload = Workload(
        theirs=theirs,
        ours=tuple({} for _ in theirs),
        annotations={},
        inject=draw(st.sampled_from([None, None, None, "disabled"])),
        deleted=draw(st.sampled_from([False] * 7 + [True])),
    )
    if earlier := draw(st.none() | injections):
        # As an earlier reconcile left it, and its owner then edited it.
        ours, annotations = tuple(earlier.environment() for _ in theirs), earlier.annotations(KAGENTI)
        workload = replace(workload, ours=ours, annotations=annotations)
    return workload


@st.composite
def grants(draw: st.DrawFn) -> tuple[Role | None, RoleBinding | None]:
    granted = tuple(sorted(draw(st.sets(names, min_size=1))))
    owner = grantee(build_agent(uid=draw(st.sampled_from(["u1", "before"]))))
    written = build_access(
        KAGENTI, KEY, granted, (owner,), experiment=draw(st.sampled_from([EXPERIMENT, None]))
    )
    role, binding = msgspec.convert(written[0], Role), msgspec.convert(written[1], RoleBinding)
    if draw(st.booleans()):
        metadata = msgspec.structs.replace(role.metadata, owner_references=(FOREIGN,))
        role = msgspec.structs.replace(role, metadata=metadata)
        binding = msgspec.structs.replace(binding, metadata=metadata)
    if draw(st.booleans()):
        binding = msgspec.structs.replace(binding, role_ref=RoleRef(kind="Role", name="another"))
    return draw(st.sampled_from([role, role, None])), draw(st.sampled_from([binding, binding, None]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    workload = draw(st.one_of(workloads(), workloads(), workloads(), st.none()))
    agent = workload.agent if workload else None
    served = is_served(agent) and draw(st.sampled_from([True] * 7 + [False]))
    twin = None
    if draw(st.booleans()):
        twin = build_agent(uid="u2", service_account=draw(st.sampled_from([None, "other"])))
    grantees = grantees_of(agent, twin, served=served)
    experiments = tuple(sorted(draw(st.sets(names)))) if grantees else ()
    role, binding = draw(grants())
    injection = draw(st.none() | injections)
    observed = Observed(
        key=KEY,
        resource=AGENT_DEPLOYMENTS,
        agent=agent,
        served=served,
        grantees=grantees,
        role=role,
        binding=binding,
        experiments=experiments,
        common=draw(st.sampled_from([None, EXPERIMENT])) if experiments else None,
        injection=injection,
        taken=injection is None and draw(st.booleans()),
        gone=injection is None and draw(st.booleans()),
    )
    return Case(workload, observed)


def writes(observed: Observed, plan: Plan) -> list[str]:
    """The requests that carrying out the plan costs."""
    grant, revoked = plan.grant, (observed.role, observed.binding) if plan.revoke else ()
    return [
        *("delete" for grant in revoked if grant),
        *(["apply Role"] if grant and differs(grant.role, grant.known_role) else []),
        *(["replace RoleBinding"] if grant and grant.replaced else []),
        *(["apply RoleBinding"] if grant and differs(grant.binding, grant.known_binding) else []),
        *(["change the workload"] if plan.change else []),
    ]


@given(cases())
def test_no_role_is_ever_without_names(case: Case) -> None:
    if grant := decide(KAGENTI, case.observed).grant:
        (rule,) = grant.role["rules"]
        assert tuple(rule["resourceNames"]) == case.observed.experiments != ()


@given(cases())
def test_no_environment_comes_without_the_right_to_use_it(case: Case) -> None:
    plan = decide(KAGENTI, case.observed)
    if isinstance(plan.change, Inject):
        assert plan.grant is not None
        assert not plan.revoke


@given(cases())
def test_a_second_reconcile_writes_nothing(case: Case) -> None:
    assume(not (case.workload and case.workload.is_shared))
    after = case.carry_out(decide(KAGENTI, case.observed))
    assert writes(after.observed, decide(KAGENTI, after.observed)) == []


@given(cases())
def test_a_third_reconcile_writes_nothing_where_somebody_repeated_our_values(case: Case) -> None:
    """What we leave out then stays, and is seen to be theirs only after the first write."""
    once = case.carry_out(decide(KAGENTI, case.observed))
    twice = once.carry_out(decide(KAGENTI, once.observed))
    assert writes(twice.observed, decide(KAGENTI, twice.observed)) == []


@given(cases())
def test_what_the_user_set_survives_whatever_is_planned(case: Case) -> None:
    after = case.carry_out(decide(KAGENTI, case.observed)).workload
    if case.workload and after:
        earlier = case.workload.annotations.values()
        for before, kept in zip(case.workload.theirs, after.theirs, strict=True):
            for name, value in before.items():
                # What our annotations say that we wrote counts as ours, whoever wrote it.
                assert kept.get(name) == value or value in earlier
