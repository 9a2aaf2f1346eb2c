"""Events for writes that the API server refuses, on the object that people would describe.

The log has every refusal, from the work queue that retries. An Event is for what lasts until somebody acts.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.control.write_backoff import WritesReverted
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

_WEBHOOK = re.compile(r'failed calling webhook "[^"]+"')
# The reason of the Event where another writer keeps reverting a write.
REVERTED = "WriteReverted"
_ADVICE = "It is retried: check the operator's permissions, and the cluster's policies and webhooks."


def describe_refusal(error: ApiError) -> str | None:
    """Describe what was refused, each time in the same words; None where it passes by itself.

    A busy or starting server, an object that somebody else just changed, and a namespace that is going are
    nobody's fault. Status 500 is: a webhook that does not answer, an object that cannot be converted.
    """
    passing = error.conflict or error.not_found or error.too_many_requests or error.status > 500
    if passing or error.namespace_terminating:
        return None
    # What follows names ports and times, which would make each try a new Event.
    webhook = _WEBHOOK.search(error.message)
    return f"{error.what}: {webhook[0]}" if webhook else str(error)


def describe_failure(consequence: str, error: ApiError) -> str | None:
    """The Event's text for a refusal that lasts; `consequence`: what follows of it."""
    refusal = describe_refusal(error)
    return f"{consequence}: {refusal}. {_ADVICE}" if refusal is not None else None


def record_failure(
    events: EventRecorder, about: ObjectRef | None, reason: str, consequence: str, error: ApiError
) -> None:
    """Record a refusal that lasts, if there is an object to record it on."""
    text = describe_failure(consequence, error)
    if about is not None and text is not None:
        events.warning(about, reason, text)


@contextmanager
def failures_recorded(
    events: EventRecorder,
    about: ObjectRef | None,
    reason: str,
    consequence: str,
    *,
    reverted: ObjectRef | None = None,
) -> Generator[None]:
    """Record a refusal that ends this block, or that another writer reverts it, and let it pass.

    `reverted`: the object on which the latter is recorded, where it is another one than `about`.
    """
    try:
        yield
    except WritesReverted as error:
        if subject := reverted or about:
            events.warning(subject, REVERTED, f"{consequence}: {error}.")
        raise
    except ApiError as error:
        record_failure(events, about, reason, consequence, error)
        raise
