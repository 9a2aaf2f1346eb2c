"""How an informer goes on: its states, and pure functions from what happened to the next state."""

import random
from dataclasses import dataclass, replace

from kagenti_operator.backoff import Backoff, jittered
from kagenti_operator.kube.errors import ApiError, Interrupted, KubeError

# client-go's reflector: from 0.8 s, with as much again by chance, to 30 s at most.
BACKOFF = Backoff(first=0.8, longest=15.0, jitter=1.0)
# An API that nobody announces is asked for this seldom.
ABSENT_SECONDS = 600.0
# What need not be permitted is asked for again within so many seconds: an API server that has just started
# knows no permissions for a moment, and whoever grants one wants to see it.
FORBIDDEN_SECONDS = 60.0
# After somebody said that it appears, or it was served until now: of several servers one may need some
# seconds to know a CRD that another serves.
HOPEFUL_TRIES = 7
# So many times in a row an API that was served has to be missing before its objects count as gone.
DOUBTS = 3
# A watch that lasted this long has worked, even if there was nothing to send.
STEADY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Listing:
    """Fetching a list, from its beginning or from a continue token.

    `limit`: how many objects the next page may have, where they are too large for a whole one; `failures`
    since something last worked; `hopeful`: how often an absent API is asked for again soon; `doubts`: how
    often it has to be missing to be absent, where it was served until now.
    """

    continue_: str = ""
    limit: int | None = None
    failures: int = 0
    hopeful: int = 0
    doubts: int = 0


@dataclass(frozen=True, slots=True)
class Watching:
    """Following changes from a resource version; `fresh`: nothing has come since the list."""

    resource_version: str
    failures: int = 0
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Giving the server time before the next try."""

    seconds: float
    then: Listing | Watching


@dataclass(frozen=True, slots=True)
class Absent:
    """The API is not served or not ours to see; waiting for somebody to announce it, or for `seconds`.

    With `doubts` left it is not believed yet.
    """

    seconds: float
    hopeful: int
    doubts: int = 0


type State = Listing | Watching | Waiting | Absent


@dataclass(frozen=True, slots=True)
class WatchEnd:
    """How a watch ended: how far it came, after how many seconds, and what broke it, if anything did."""

    resource_version: str
    lasted: float
    error: KubeError | None


def after_page(
    state: Listing, resource_version: str, continue_: str, limit: int | None = None
) -> Listing | Watching:
    """Go on with the next page, or watch from where the complete list stands."""
    if continue_:
        return Listing(continue_=continue_, limit=limit or state.limit, doubts=state.doubts)
    return Watching(resource_version, failures=state.failures, fresh=True)


def after_refused_list(
    state: Listing,
    error: KubeError,
    rng: random.Random,
    *,
    optional: bool = False,
    always_served: bool = False,
) -> Waiting | Absent:
    """Wait for an absent API; start again after an expired continue token; else try the same again.

    `optional`: what may not be listed is absent as well, and asked for again within a minute.
    `always_served`: every API server has it, so that it is never absent: "not found" comes from a proxy, or
    from a server that is starting.
    """
    failures = state.failures + 1
    absent = isinstance(error, ApiError) and error.not_found and not always_served
    forbidden = optional and isinstance(error, ApiError) and error.forbidden
    if (absent and state.hopeful) or (forbidden and state.hopeful and state.doubts):
        seconds = BACKOFF.delay(HOPEFUL_TRIES - state.hopeful + 1, rng)
        return Absent(seconds, state.hopeful - 1, max(state.doubts - 1, 0))
    if absent:
        return Absent(jittered(ABSENT_SECONDS / 2, 1.0, rng), 0)
    if forbidden:
        return Absent(jittered(FORBIDDEN_SECONDS / 2, 1.0, rng), 0)
    if isinstance(error, ApiError) and error.gone:
        return Waiting(BACKOFF.delay(failures, rng), _begin(state, failures))
    return Waiting(_delay(error, failures, rng), replace(state, failures=failures))


def after_watch(state: Watching, end: WatchEnd, rng: random.Random) -> State:
    """Resume where the watch ended; list again only when the server no longer knows that version."""
    error = end.error
    steady = end.lasted >= STEADY_SECONDS and (error is None or isinstance(error, Interrupted))
    worked = steady or end.resource_version != state.resource_version
    failures = 1 if worked else state.failures + 1
    if isinstance(error, ApiError) and (error.gone or error.not_found):
        # A version that came from a list just now and is too old already: do not list in a tight circle.
        listing = list_again(failures)
        return Waiting(BACKOFF.delay(failures, rng), listing) if state.fresh and not worked else listing
    if error is None and worked:
        return Watching(end.resource_version)
    resumed = Watching(end.resource_version, failures=failures, fresh=state.fresh and not worked)
    return Waiting(_delay(error, failures, rng), resumed)


def after_absence(state: Absent, *, announced: bool) -> Listing:
    """Look again: with patience for a server that is just setting the API up, where somebody announced it."""
    return Listing(hopeful=HOPEFUL_TRIES if announced else state.hopeful, doubts=state.doubts)


def list_again(failures: int = 0) -> Listing:
    """List what was served until now: who does not know it may be one server of several, and lag behind."""
    return Listing(failures=failures, hopeful=HOPEFUL_TRIES, doubts=DOUBTS)


def _begin(state: Listing, failures: int) -> Listing:
    return Listing(failures=failures, hopeful=state.hopeful, doubts=state.doubts)


def _delay(error: KubeError | None, failures: int, rng: random.Random) -> float:
    asked = error.retry_after if isinstance(error, ApiError) else None
    return BACKOFF.delay(failures, rng, at_least=asked or 0.0)
