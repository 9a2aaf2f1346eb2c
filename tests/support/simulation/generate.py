"""From a seed to a plan."""

import random
from collections.abc import Callable, Sequence

from tests.support.simulation import faults as f
from tests.support.simulation.actions import Action
from tests.support.simulation.faults import Fault
from tests.support.simulation.plan import Plan
from tests.support.simulation.platform import TEAMS

# Several schedules of faults go with each scenario, which is played once without any.
SCHEDULES_PER_SCENARIO = 6
# People act during so many seconds, and things go wrong for somewhat longer.
SECONDS = 120.0
FAULT_SECONDS = 160.0
_AGENTS = ("weather", "tickets", "payroll", "search")
_PLURALS = ("", "", "roles", "rolebindings", "deployments", "configmaps", "mlflows", "clusterroles")
_KINDS = ("Deployment", "Deployment", "StatefulSet")


def generate(seed: int) -> Plan:
    """The plan of a seed, always the same."""
    scenario, _ = divmod(seed, SCHEDULES_PER_SCENARIO)
    plan = _scenario(scenario)
    dice = random.Random(f"faults {seed}")
    faults = [_fault(dice, _moment(dice, plan.actions)) for _ in range(dice.randint(1, 6))]
    return Plan(
        dice=seed,
        replicas=dice.choice((1, 2)),
        openshift=plan.openshift,
        workspace=plan.workspace,
        actions=plan.actions,
        faults=tuple(sorted(faults, key=lambda it: it.at)),
    )


def _scenario(number: int) -> Plan:
    dice = random.Random(f"scenario {number}")
    agents = [
        (team, name, dice.choice(_KINDS))
        for team in TEAMS
        for name in dice.sample(_AGENTS, dice.randint(1, 2))
    ]
    actions = [
        Action(
            at=round(dice.choice((0.0, dice.uniform(0, 30))), 1),
            do="make agent",
            namespace=team,
            name=name,
            kind=kind,
        )
        for team, name, kind in agents
    ]
    for _ in range(dice.randint(2, 5)):
        actions += _some_action(dice, agents)
    return Plan(
        openshift=dice.random() < 0.4,
        workspace=dice.choice(("team1", "team1", "")),
        actions=tuple(sorted(actions, key=lambda it: it.at)),
    )


def _some_action(dice: random.Random, agents: Sequence[tuple[str, str, str]]) -> list[Action]:
    at = round(dice.uniform(5, SECONDS - 20), 1)
    soon = round(at + dice.choice((0.0, 0.3, 3.0, 15.0)), 1)
    team, name, kind = dice.choice(agents)

    def of_agent(do: str, moment: float = at, value: str = "") -> Action:
        return Action(at=moment, do=do, namespace=team, name=name, kind=kind, value=value)

    choices: Sequence[Callable[[], list[Action]]] = (
        lambda: [of_agent("delete agent")],
        lambda: [of_agent("recreate agent")],
        lambda: [of_agent("recreate agent", value="runner")],
        lambda: [of_agent("delete agent"), of_agent("make agent", soon)],
        lambda: [of_agent("unlabel agent")],
        lambda: [of_agent("unlabel agent"), of_agent("label agent", soon)],
        lambda: [of_agent("opt out")],
        lambda: [of_agent("opt out"), of_agent("opt in", soon)],
        lambda: [of_agent("change image")],
        lambda: [of_agent("change account", value="runner")],
        lambda: [of_agent("delete role")],
        lambda: [of_agent("delete binding")],
        lambda: [of_agent("empty binding")],
        lambda: [Action(at=0.0, do="make role of its name", namespace=team, name=name)],
        lambda: [of_agent("trash experiment")],
        lambda: [Action(at=at, do="MLflow goes"), Action(at=soon, do="MLflow comes")],
        lambda: [Action(at=at, do="delete MLflow")],
        lambda: [
            Action(at=at, do="set state", value="Removed"),
            Action(at=soon, do="set state", value="Managed"),
        ],
        lambda: [Action(at=at, do="set state", value="Removed")],
        lambda: [Action(at=at, do="delete cluster role"), Action(at=soon, do="make cluster role")],
        lambda: [Action(at=at, do="delete collector"), Action(at=soon, do="make collector")],
        lambda: [Action(at=at, do="delete collector"), Action(at=soon, do="make collector", value="sender")],
        lambda: [Action(at=at, do="delete configuration")],
        lambda: [Action(at=at, do="edit configuration")],
        lambda: [Action(at=at, do="delete collector's binding", namespace=team)],
        lambda: [Action(at=at, do="delete namespace", namespace="team2")],
        lambda: [
            Action(at=at, do="delete namespace", namespace="team2"),
            Action(at=soon + 5, do="make namespace", namespace="team2"),
            Action(at=soon + 6, do="make agent", namespace="team2", name="search"),
        ],
        lambda: [
            Action(at=at, do="define sandboxes"),
            Action(at=soon, do="make agent", namespace=team, name="boxed", kind="Sandbox"),
        ],
    )
    return dice.choice(choices)()


def _moment(dice: random.Random, actions: Sequence[Action]) -> float:
    """Mostly when somebody is about to act, or has just done so."""
    if dice.random() < 0.3:
        return round(dice.uniform(0, FAULT_SECONDS), 1)
    return round(max(0.0, dice.choice(actions).at + dice.choice((-8.0, -1.0, 0.0, 0.0, 0.1, 1.0, 6.0))), 1)


def _fault(dice: random.Random, at: float) -> Fault:
    seconds = round(dice.choice((2.0, 12.0, 40.0)) * dice.uniform(0.5, 1.0), 1)
    plural = dice.choice(_PLURALS)
    share = dice.choice((0.2, 0.5, 1.0))
    verbs = dice.choice(("", "PATCH POST DELETE PUT", "PATCH", "GET", "WATCH"))
    statuses = (500, 503, 429, 502, 504, 409, 403)

    def window(what: str, value: int = 0, share: float = share, verbs: str = verbs) -> Fault:
        return Fault(at=at, what=what, seconds=seconds, share=share, verbs=verbs, plural=plural, value=value)

    choices: Sequence[Callable[[], Fault]] = (
        lambda: window(f.REFUSE, dice.choice(statuses), verbs="PATCH POST DELETE PUT"),
        lambda: window(f.REFUSE, dice.choice((500, 503, 429, 502, 504))),
        lambda: window(f.REFUSE, dice.choice((403, 404)), share=0.5, verbs=""),
        lambda: window(f.LOSE_REQUEST),
        lambda: window(f.LOSE_ANSWER),
        lambda: window(f.LOSE_ANSWER, verbs="PATCH POST DELETE PUT"),
        lambda: window(f.HANG, share=0.2),
        lambda: window(f.MUTE, share=0.2),
        lambda: window(f.SLOW, dice.randint(1, 9)),
        lambda: window(f.SLOW, dice.randint(1, 9), share=1.0, verbs="GET PATCH DELETE"),
        lambda: window(f.LAG, dice.randint(1, 20), verbs=""),
        lambda: window(f.STALE, verbs=""),
        lambda: window(f.EXPIRED_PAGES, verbs=""),
        lambda: Fault(
            at=at, what=f.UNKNOWN_API, seconds=seconds, plural=dice.choice(("mlflows", "datascienceclusters"))
        ),
        lambda: Fault(at=at, what=f.CUT_WATCHES, plural=plural),
        lambda: Fault(at=at, what=f.BLACKOUT, seconds=seconds, plural=plural),
        lambda: Fault(at=at, what=f.BLACKOUT, seconds=seconds),
        lambda: Fault(at=at, what=f.COMPACT, plural=plural),
        lambda: Fault(at=at, what=f.EXPIRE_WATCHES, plural=plural),
        lambda: Fault(at=at, what=f.SILENCE, plural=plural),
        lambda: Fault(at=at, what=f.CRASH, seconds=seconds),
        lambda: Fault(at=at, what=f.CRASH_AFTER_WRITE, value=dice.randint(1, 12)),
        lambda: Fault(at=at, what=f.STOP, value=dice.randint(0, 1)),
        lambda: Fault(at=at, what=f.FREEZE, seconds=seconds, value=dice.randint(0, 1)),
        lambda: Fault(at=at, what=f.UNPLUG, seconds=seconds, value=dice.randint(0, 1)),
        lambda: Fault(
            at=at,
            what=f.MLFLOW + f.REFUSE,
            seconds=seconds,
            share=share,
            value=dice.choice((503, 500, 429, 401, 200)),
        ),
        lambda: Fault(at=at, what=f.MLFLOW + f.LOSE_ANSWER, seconds=seconds, share=share),
        lambda: Fault(at=at, what=f.MLFLOW + f.HANG, seconds=seconds, share=share),
        lambda: Fault(at=at, what=f.MLFLOW + f.SLOW, seconds=seconds, share=share, value=dice.randint(1, 20)),
    )
    return dice.choice(choices)()
