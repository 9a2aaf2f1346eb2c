"""What happens in one simulation: people's actions, and faults; a seed gives it."""

from dataclasses import dataclass

from tests.support.simulation import faults as f
from tests.support.simulation.actions import Action
from tests.support.simulation.faults import Fault


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`dice`: decides whatever else is left to chance; `workspace`: the collector's, may be empty."""

    dice: int = 0
    replicas: int = 1
    openshift: bool = False
    workspace: str = "team1"
    actions: tuple[Action, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def over(self) -> float:
        """When the last action has been done and the last fault is over."""
        return max((0.0, *(it.at for it in self.actions), *(it.at + it.seconds for it in self.faults)))

    @property
    def staleness(self) -> float:
        """For how long an operator may not hear of what others do."""
        return 60.0 + max((it.seconds + _unnoticed_seconds(it) for it in self.faults), default=0.0)

    @property
    def noticed(self) -> float:
        """When at the latest everything that happened is noticed, as long as nothing else goes wrong."""
        return max((self.over, *(it.at + it.seconds + _unnoticed_seconds(it) for it in self.faults)))


def _unnoticed_seconds(fault: Fault) -> float:
    """For how long after a fault is over something may not be noticed."""
    if fault.what == f.UNKNOWN_API or (
        fault.what == f.REFUSE and fault.value in (403, 404) and not fault.verbs
    ):
        # An API that is not there, or not permitted, is asked for that seldom.
        return 620.0
    if fault.what in (f.SILENCE, f.HANG):
        # So long a watch may be silent.
        return 155.0
    return float(fault.value) if fault.what == f.LAG else 0.0
