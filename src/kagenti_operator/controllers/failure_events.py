"""Telling people that a write is refused: by an Event on the object that they would describe.

The log has every refusal, told by the work queue that tries again. An Event is for what lasts until somebody
does something about it.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

_WEBHOOK = re.compile(r'failed calling webhook "[^"]+"')
_ADVICE = "It is tried again: look at the operator's permissions, and at the cluster's policies and webhooks."


def word_refusal(error: ApiError) -> str | None:
    """What to tell people of it, each time in the same words; None where it passes by itself.

    A busy or starting server, an object that somebody else just changed, and a namespace that is going are
    nobody's fault. Status 500 is: a webhook that does not answer, an object that cannot be converted.
    """
    passing = error.conflict or error.not_found or error.too_many_requests or error.status > 500
    if passing or error.namespace_terminating:
        return None
    # What follows names ports and times, which would make each try a new Event.
    webhook = _WEBHOOK.search(error.message)
    return f"{error.what}: {webhook[0]}" if webhook else str(error)


def describe_refusal(trouble: str, error: ApiError) -> str | None:
    """The Event's text for a refusal that lasts; `trouble`: what follows of it."""
    words = word_refusal(error)
    return f"{trouble}: {words}. {_ADVICE}" if words is not None else None


def tell_refusal(
    events: EventRecorder, about: ObjectRef | None, reason: str, trouble: str, error: ApiError
) -> None:
    """Tell of a refusal that lasts, if there is an object to tell it about."""
    text = describe_refusal(trouble, error)
    if about is not None and text is not None:
        events.warning(about, reason, text)


@contextmanager
def refusals_told(
    events: EventRecorder, about: ObjectRef | None, reason: str, trouble: str
) -> Generator[None]:
    """Tell of a refusal that ends this block; it goes on its way."""
    try:
        yield
    except ApiError as error:
        tell_refusal(events, about, reason, trouble, error)
        raise


def find_collector(cluster: Cluster) -> ObjectRef | None:
    """Whom to describe for the collector's configuration; the operator itself where there is no collector."""
    found = cluster.collector or cluster.operator
    return ObjectRef.of(DEPLOYMENTS, found) if found else None
