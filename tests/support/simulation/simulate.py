"""Plays one plan, and says what did not hold."""

import asyncio
import random
import ssl
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog

from kagenti_operator import clock
from kagenti_operator.cli import run
from kagenti_operator.contract import KAGENTI
from tests.support import virtual_time
from tests.support.simulation import faults as f
from tests.support.simulation.actions import Action, Users
from tests.support.simulation.apiserver import ApiServer
from tests.support.simulation.faults import Fault, Faults
from tests.support.simulation.invariants import Invariants, Violation
from tests.support.simulation.kinds import LEASES, Kind
from tests.support.simulation.loop import PROCESS, SimulationLoop
from tests.support.simulation.mlflow import MLflowServer
from tests.support.simulation.plan import Plan
from tests.support.simulation.platform import install
from tests.support.simulation.replica import (
    API_HOST,
    FLAGS,
    OperatorProcess,
    Replica,
    current_dice,
    current_identity,
)
from tests.support.simulation.standins import StandIns
from tests.support.simulation.state import State, compare, find_faults, read_state
from tests.support.simulation.store import Store
from tests.support.simulation.wire import Network, Request, connecting_through

MLFLOW_HOST = "mlflow.redhat-ods-applications.svc"
# Longer than whatever is waited for between two writes.
QUIET_SECONDS = 90.0
LONGEST_SECONDS = 2000.0


@dataclass(frozen=True)
class Outcome:
    """How it ended."""

    violations: tuple[Violation, ...]
    state: State
    writes: int
    requests: int
    seconds: float


class World:
    """The cluster, MLflow, the people, and the operator's replicas."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = clock.monotonic()
        self.store = Store(lambda: clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
        faults = Faults(plan.faults, plan.dice)
        faults.began = self.began
        self.api = ApiServer(self.store, faults)
        self.mlflow = MLflowServer(faults, lambda token: token in self.api.tokens)
        self.network = Network()
        self.network.hosts |= {API_HOST: self.api, f"{MLFLOW_HOST}.": self.mlflow, MLFLOW_HOST: self.mlflow}
        stand_ins = StandIns(
            self.store, random.Random(plan.dice), lambda: clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        self.invariants = Invariants(
            self.store,
            self.mlflow,
            self.now,
            workspace=plan.workspace,
            staleness=plan.staleness,
            elects=plan.replicas > 1,
        )
        self.api.on_write += [self.invariants.on_write, self._count_down]
        self.users = Users(self.store, self.mlflow, stand_ins)
        self.replicas: list[Replica] = []
        # Who is stopped or cut off by what.
        self._struck: dict[Fault, OperatorProcess] = {}
        self._crash_after: int | None = None
        self._crashes: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return clock.monotonic() - self.began

    async def play(self) -> Outcome:
        plan = self.plan
        install(self.store, openshift=plan.openshift)
        flags = [*FLAGS, f"--mlflow-workspace={plan.workspace}"]
        if plan.replicas > 1:
            flags.append("--leader-elect")
        self.replicas = [Replica(self.network, f"pod-{n}", flags, plan.dice) for n in range(plan.replicas)]
        for moment, act, what in self._timetable():
            await asyncio.sleep(max(0.0, moment - self.now()))
            await act(what)
        await self._settle()
        for replica in self.replicas:
            await replica.close()
            for failure in replica.failures:
                self.invariants.report("no crash", repr(failure))
        refused = any(it.what == f.REFUSE and it.value in (403, 404) for it in plan.faults)
        # Where no token may be requested the operator's own serves, and an Event says so.
        for token in () if refused else self.mlflow.strange_tokens:
            self.invariants.report("tokens", f"MLflow was shown {token}")
        for fault in find_faults(self.store):
            self.invariants.report("all or nothing", fault)
        violations = tuple(self.invariants.violations)
        state = read_state(self.store, self.mlflow)
        return Outcome(violations, state, self.invariants.writes, self.api.requests, self.now())

    def _timetable(self) -> list[tuple[float, Any, Any]]:
        table: list[tuple[float, Any, Any]] = [(it.at, self._do, it) for it in self.plan.actions]
        for fault in self.plan.faults:
            table.append((fault.at, self._strike, fault))
            if fault.what == f.BLACKOUT:
                table.append((fault.at + f.LATE * fault.seconds, self._forget, fault))
            if fault.what in (f.FREEZE, f.UNPLUG):
                table.append((fault.at + fault.seconds, self._mend, fault))
        return sorted(table, key=lambda entry: entry[0])

    async def _do(self, action: Action) -> None:
        self.users.do(action)

    async def _strike(self, fault: Fault) -> None:
        process = self._choose(fault).process
        match fault.what:
            case f.CUT_WATCHES | f.EXPIRE_WATCHES | f.SILENCE:
                self.api.strike(fault.what, fault.plural)
            case f.BLACKOUT:
                self.api.strike(f.CUT_WATCHES, fault.plural)
            case f.COMPACT:
                await self._forget(fault)
            case f.CRASH:
                await self.leader.crash(fault.seconds)
            case f.CRASH_AFTER_WRITE:
                self._crash_after = fault.value
            case f.STOP if process:
                process.stop()
            case f.FREEZE if process and not process.dead:
                process.freeze()
                self._struck[fault] = process
            case f.UNPLUG if process:
                self.network.unplugged.add(process)
                self._struck[fault] = process
            case _:
                return

    async def _forget(self, fault: Fault) -> None:
        self.store.compact()
        self.api.strike(f.CUT_WATCHES, fault.plural)

    async def _mend(self, fault: Fault) -> None:
        process = self._struck.pop(fault, None)
        if process and fault.what == f.FREEZE and process.frozen is not None:
            process.go_on()
        elif process and fault.what == f.UNPLUG:
            self.network.plug_in(process)

    def _choose(self, fault: Fault) -> Replica:
        """The leader for an even value, else another, if there is one."""
        others = [replica for replica in self.replicas if replica is not self.leader]
        return others[0] if others and fault.value % 2 else self.leader

    @property
    def leader(self) -> Replica:
        """The one that holds the lease, else the first."""
        lease = self.store.get(LEASES, KAGENTI.namespace, KAGENTI.lease)
        holder = lease["spec"].get("holderIdentity") if lease else None
        for replica in self.replicas:
            if replica.process and replica.process.identity == holder:
                return replica
        return self.replicas[0]

    def _count_down(self, kind: Kind, _: str, request: Request) -> None:
        """Kill the operator at once after so many writes: the answer to the last one does not arrive."""
        if kind is LEASES or self._crash_after is None:
            return
        self._crash_after -= 1
        if self._crash_after <= 0:
            self._crash_after = None
            request.process.dead = True
            request.line.cut()
            replica = next(it for it in self.replicas if it.process is request.process)
            task = asyncio.get_running_loop().create_task(replica.crash())
            self._crashes.add(task)

    async def _settle(self) -> None:
        least = self.plan.noticed
        while True:
            now = self.now()
            ready = max(least, self.invariants.last_write) + QUIET_SECONDS
            if now >= ready:
                return
            if now > least + LONGEST_SECONDS:
                self.invariants.report("nothing is written at rest", "the operator still writes")
                return
            await asyncio.sleep(max(ready - now, 0.001))


_bugs: list[str] = []


def _note_bugs(_: object, level: str, event: Any) -> Any:
    if level == "error" and event.get("exc_info"):
        _bugs.append(f"{event.get('event')}: {event.get('exc_info')!r}")
    raise structlog.DropEvent


@lru_cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def _in_place() -> Generator[None]:
    """What the operator asks of its surroundings is the simulation's."""
    structlog.configure(processors=[_note_bugs], cache_logger_on_first_use=False)
    with ExitStack() as patches:
        places: tuple[tuple[Any, str, Any], ...] = (
            (clock, "now", virtual_time.now),
            (run, "random", SimpleNamespace(Random=current_dice)),
            (run, "process_identity", current_identity),
            (ssl, "create_default_context", _context),
        )
        for target, name, value in places:
            patches.enter_context(patch.object(target, name, value))
        try:
            yield
        finally:
            structlog.reset_defaults()


def _note_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _bugs.append(f"{context['message']}: {context.get('exception')!r}")


async def _play(plan: Plan) -> Outcome:
    asyncio.get_running_loop().set_exception_handler(_note_exception)
    world = World(plan)
    with connecting_through(world.network):
        return await world.play()


def play(plan: Plan) -> Outcome:
    """Play a plan from its beginning to the rest after it."""
    _bugs.clear()
    with _in_place(), asyncio.Runner(loop_factory=SimulationLoop) as runner:
        assert PROCESS.get() is None
        outcome = runner.run(_play(plan))
    bugs = tuple(Violation("no bug", text) for text in _bugs)
    return replace(outcome, violations=(*outcome.violations, *bugs))


@lru_cache(maxsize=64)
def undisturbed(plan: Plan) -> Outcome:
    """The same without any fault."""
    return play(replace(plan, faults=()))


def find_violations(plan: Plan) -> list[Violation]:
    """Play a plan with and without its faults, and compare."""
    expected = undisturbed(replace(plan, faults=(), replicas=1))
    if expected.violations:
        return [replace(it, text=f"without any fault, {it.text}") for it in expected.violations]
    found = play(plan)
    differences = compare(expected.state, found.state)
    return [*found.violations, *(Violation("end state", text) for text in differences)]
