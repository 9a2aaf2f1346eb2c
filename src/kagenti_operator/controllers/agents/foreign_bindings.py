"""RoleBindings by which others grant an agent's Role: it grants nothing while one stands.

Nobody may grant what they do not hold, but an empty Role is granted by anybody who may write RoleBindings:
they would be let in to what the operator fills it with. So one that comes and goes keeps it empty for a
while as well, each time longer.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.keys import AgentKey, granted_role
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import ROLE_BINDINGS
from kagenti_operator.plain_text import excerpt
from kagenti_operator.runtime.cache.object_cache import Event, ObjectKey, Removed, key_of
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

REASON = "MLflowRoleGrantedToOthers"
# More are not named.
MOST = 5
# From when the last of them is gone until the Role is filled again.
PAUSE = Backoff(first=5.0, longest=600.0)
# Who has left it alone for so long begins anew.
FORGET_SECONDS = 3600.0
# Of so many Roles that is remembered, the latest ones, in about 1 MiB.
MOST_REMEMBERED = 2_000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9.:_]*")


def report_foreign(role: str, bindings: Sequence[RoleBinding]) -> Report:
    """What the agent's workload is told."""
    names = [binding.metadata.name for binding in bindings]
    shown = ", ".join(f"'{excerpt(name, 100)}'" for name in names[:MOST])
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return Report(
        reason=REASON,
        message=f"RoleBinding {shown}{more} of this namespace grants Role '{role}' to others. While that "
        "stands the Role grants nothing, so that nobody else is let in to the agent's experiment; nor are "
        "its pods. "
        f"{_cure(bindings[0])}",
    )


def report_flapped(role: str) -> Report:
    """What the agent's workload is told while the Role is not filled again."""
    return Report(
        reason=REASON,
        message=f"A RoleBinding that grants Role '{role}' to others was made and is gone again. The Role is "
        "filled after a pause, which doubles each time that one comes, from five seconds to ten minutes: "
        "until then its pods are not let in to the agent's experiment.",
    )


def report_binding(role: str, binding: RoleBinding) -> Report:
    """What the RoleBinding is told."""
    return Report(
        reason=REASON,
        message=f"Role '{role}' is kept for one agent by the operator, and grants nothing while this "
        f"RoleBinding refers to it. Bind a Role of your own, and take this one away. {_cure(binding)}",
    )


def _cure(binding: RoleBinding) -> str:
    meta = binding.metadata
    # A name may hold anything but / and %: what a shell would not take as it is, is no advice.
    if not _PLAIN_NAME.fullmatch(meta.name):
        return "Delete it."
    return f"Delete it: kubectl delete rolebinding -n {meta.namespace} {meta.name}"


def is_foreign(names: Names, binding: RoleBinding) -> bool:
    """Whether it grants an agent's Role and is not the one of that agent's name."""
    role = granted_role(binding)
    return role is not None and role != binding.metadata.name and names.workload_of_role(role) is not None


async def find_foreign_now(client: KubeClient, names: Names, key: AgentKey) -> tuple[RoleBinding, ...]:
    """Those that the API server itself has, however late a watch is. Raises KubeError.

    It selects by no Role: all of the namespace's come, so this is for the rare case.
    """
    role, found, rest = names.agent_role(key.name), list[RoleBinding](), ""
    while True:
        page = await client.list_page(ROLE_BINDINGS, namespace=key.namespace, continue_=rest)
        found += (it for it in page.items if granted_role(it) == role and is_foreign(names, it))
        rest = page.continue_
        if not rest:
            return tuple(sorted(found, key=lambda it: it.metadata.name))


@dataclass
class _Episodes:
    times: int = 0
    last: float = 0.0
    standing: set[str] = field(default_factory=set[str])

    @property
    def free_at(self) -> float:
        return self.last + PAUSE.step(self.times)


class ForeignBindings:
    """Tells RoleBindings, each once and again before the Event expires; remembers what they granted."""

    def __init__(self, names: Names, events: EventRecorder) -> None:
        self._names = names
        self._reporter = Reporter[ObjectKey](events, __name__)
        # By namespace and Role, in the order in which they were last seen.
        self._episodes: OrderedDict[ObjectKey, _Episodes] = OrderedDict()

    def report(self, role: str, bindings: Sequence[RoleBinding]) -> None:
        """These grant that agent's Role."""
        for binding in bindings[:MOST]:
            about = ObjectRef.of(ROLE_BINDINGS, binding)
            self._reporter.report(key_of(binding), about, [report_binding(role, binding)])

    def follow(self, event: Event[RoleBinding]) -> None:
        """Note one that came, and forget to have told one that is gone."""
        binding = event.object
        if isinstance(event, Removed):
            self._reporter.forget(key_of(binding))
        if is_foreign(self._names, binding):
            self.note(binding, standing=not isinstance(event, Removed))

    def note(self, binding: RoleBinding, *, standing: bool = True) -> None:
        """A foreign one is there, or gone."""
        role = (binding.metadata.namespace, granted_role(binding) or "")
        now = clock.monotonic()
        episodes = self._episodes.pop(role, None)
        if episodes is None or (not episodes.standing and now > episodes.last + FORGET_SECONDS):
            episodes = _Episodes()
        if standing and not episodes.standing:
            episodes.times += 1
        (episodes.standing.add if standing else episodes.standing.discard)(binding.metadata.name)
        episodes.last = now
        self._episodes[role] = episodes
        if len(self._episodes) > MOST_REMEMBERED:
            self._episodes.popitem(last=False)

    def pause(self, key: AgentKey) -> float:
        """For how many seconds the agent's Role stays empty as one came and went."""
        episodes = self._episodes.get((key.namespace, self._names.agent_role(key.name)))
        return max(0.0, episodes.free_at - clock.monotonic()) if episodes else 0.0
