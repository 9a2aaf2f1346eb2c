"""RoleBindings by which others grant an agent's Role: it grants nothing while one stands.

Nobody may grant what they do not hold, but an empty Role is granted by anybody who may write RoleBindings:
they would be let in to what the operator fills it with.
"""

import re
from collections.abc import Sequence

from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import ROLE_BINDINGS
from kagenti_operator.plain_text import excerpt
from kagenti_operator.runtime.cache.object_cache import Event, ObjectKey, Removed, key_of
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

REASON = "MLflowRoleGrantedToOthers"
# More are not named.
MOST = 5
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


class ForeignBindings:
    """Tells RoleBindings, each once, and again before the Event expires."""

    def __init__(self, events: EventRecorder) -> None:
        self._reporter = Reporter[ObjectKey](events, __name__)

    def report(self, role: str, bindings: Sequence[RoleBinding]) -> None:
        """These grant that agent's Role."""
        for binding in bindings[:MOST]:
            about = ObjectRef.of(ROLE_BINDINGS, binding)
            self._reporter.report(key_of(binding), about, [report_binding(role, binding)])

    def follow(self, event: Event[RoleBinding]) -> None:
        """Forget one that is gone."""
        if isinstance(event, Removed):
            self._reporter.forget(key_of(event.object))
