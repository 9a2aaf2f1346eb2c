"""How an informer goes on after what happened: no clock, no network."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.kube.errors import ApiError, Interrupted, KubeError, Unreachable
from kagenti_operator.runtime.cache.watch_states import (
    ABSENT_SECONDS,
    BACKOFF,
    DOUBTS,
    FORBIDDEN_SECONDS,
    HOPEFUL_TRIES,
    Absent,
    Listing,
    Waiting,
    WatchEnd,
    Watching,
    after_absence,
    after_page,
    after_refused_list,
    after_watch,
    list_again,
)
from tests.support.chance import Chance

RNG = st.builds(Chance, st.floats(0, 1, exclude_max=True))
NONE = Chance(0)
NOT_FOUND = ApiError("list", status=404)
FORBIDDEN = ApiError("list", status=403)
GONE = ApiError("watch", status=410)
BUSY = ApiError("list", status=429, retry_after=12)
LOST = Unreachable("connection refused")
ERRORS = st.sampled_from([NOT_FOUND, GONE, BUSY, LOST, FORBIDDEN, ApiError("x", status=500)])


@given(st.integers(1, 1000), RNG)
def test_backoff_is_from_800_ms_to_30_s(failures: int, rng: Chance) -> None:
    assert 0.8 <= BACKOFF.delay(failures, rng) <= 30


def test_backoff_doubles_and_jitter_spreads_it() -> None:
    waits = [round(BACKOFF.delay(failures, NONE), 1) for failures in range(1, 8)]
    assert waits == [0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0]
    assert BACKOFF.delay(2, Chance(0.9)) > BACKOFF.delay(2, Chance(0.1))


def test_a_page_is_followed_by_the_next_one_or_by_the_watch() -> None:
    assert after_page(Listing(), "9", "token") == Listing("token")
    assert after_page(Listing("token"), "9", "") == Watching("9", fresh=True)


def test_a_page_that_failed_is_asked_for_again() -> None:
    following = after_refused_list(Listing("token"), LOST, NONE)
    assert following == Waiting(0.8, Listing("token", failures=1))


def test_an_expired_continue_token_starts_the_list_again() -> None:
    assert after_refused_list(Listing("token"), GONE, NONE) == Waiting(0.8, Listing(failures=1))


def test_a_server_that_names_a_time_is_given_it() -> None:
    assert after_refused_list(Listing(), BUSY, NONE) == Waiting(12, Listing(failures=1))


def test_an_absent_api_is_asked_for_seldom() -> None:
    following = after_refused_list(Listing(), NOT_FOUND, Chance(0.5))
    assert following == Absent(ABSENT_SECONDS * 0.75, hopeful=0)
    assert after_absence(Absent(1, hopeful=0), announced=False) == Listing()


def test_what_every_api_server_has_is_never_absent() -> None:
    for listing in (Listing(), Listing("token"), Listing(hopeful=3)):
        following = after_refused_list(listing, NOT_FOUND, NONE, always_served=True)
        assert following == Waiting(0.8, replace(listing, failures=1))


def test_an_announced_api_is_asked_for_soon_and_then_seldom_again() -> None:
    listing, waits = after_absence(Absent(1, hopeful=0), announced=True), list[float]()
    for _ in range(HOPEFUL_TRIES + 1):
        absent = after_refused_list(listing, NOT_FOUND, NONE)
        assert isinstance(absent, Absent)
        waits.append(round(absent.seconds, 1))
        listing = after_absence(absent, announced=False)
    assert waits == [0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0, ABSENT_SECONDS / 2]


def test_an_api_that_was_served_is_asked_for_soon_and_is_absent_only_when_it_is_missing_again_and_again() -> (
    None
):
    listing, doubts, waits = list_again(), list[int](), list[float]()
    for _ in range(HOPEFUL_TRIES + 1):
        absent = after_refused_list(listing, NOT_FOUND, NONE)
        assert isinstance(absent, Absent)
        doubts.append(absent.doubts)
        waits.append(round(absent.seconds, 1))
        listing = after_absence(absent, announced=False)
    assert doubts == [2, 1, 0, 0, 0, 0, 0, 0]
    assert waits == [0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0, ABSENT_SECONDS / 2]


def test_the_end_of_a_crd_is_believed_sooner_where_somebody_tells_of_it_but_never_at_once() -> None:
    absent = after_refused_list(list_again(), NOT_FOUND, NONE)
    assert isinstance(absent, Absent)
    assert after_absence(absent, announced=True) == Listing(hopeful=HOPEFUL_TRIES, doubts=DOUBTS - 1)


def test_a_permission_that_is_needed_is_asked_for_again_soon() -> None:
    assert after_refused_list(Listing(), FORBIDDEN, NONE) == Waiting(0.8, Listing(failures=1))


@given(st.integers(0, HOPEFUL_TRIES), RNG)
def test_what_may_be_missing_and_is_not_permitted_is_asked_for_again_within_a_minute(
    hopeful: int, rng: Chance
) -> None:
    following = after_refused_list(Listing(hopeful=hopeful), FORBIDDEN, rng, optional=True)
    assert isinstance(following, Absent)
    assert FORBIDDEN_SECONDS / 2 <= following.seconds <= FORBIDDEN_SECONDS == 60


def test_what_was_permitted_until_now_is_not_believed_lost_at_once() -> None:
    """An API server that has just started knows no permissions for a moment."""
    following = after_refused_list(list_again(), FORBIDDEN, NONE, optional=True)
    assert following == Absent(0.8, HOPEFUL_TRIES - 1, DOUBTS - 1)


def test_hope_survives_a_hiccup() -> None:
    following = after_refused_list(Listing(hopeful=3), LOST, NONE)
    assert isinstance(following, Waiting)
    assert following.then == Listing(failures=1, hopeful=3)


def test_a_watch_that_ends_in_order_is_resumed_at_once() -> None:
    assert after_watch(Watching("5"), WatchEnd("8", 1, None), NONE) == Watching("8")
    assert after_watch(Watching("5"), WatchEnd("5", 400, None), NONE) == Watching("5")


def test_a_watch_that_ends_in_order_but_immediately_is_not_resumed_in_a_tight_circle() -> None:
    assert after_watch(Watching("5"), WatchEnd("5", 0.01, None), NONE) == Waiting(
        0.8, Watching("5", failures=1)
    )


def test_a_broken_watch_resumes_where_it_was() -> None:
    assert after_watch(Watching("5", failures=4), WatchEnd("8", 1, LOST), NONE) == Waiting(
        0.8, Watching("8", failures=1)
    )


def test_a_watch_that_broke_after_a_quiet_while_had_worked() -> None:
    broken = WatchEnd("5", 60, Interrupted("silent"))
    assert after_watch(Watching("5", failures=3), broken, NONE) == Waiting(0.8, Watching("5", failures=1))
    never_opened = WatchEnd("5", 60, Unreachable("no connection"))
    assert after_watch(Watching("5", failures=3), never_opened, NONE) == Waiting(
        6.4, Watching("5", failures=4)
    )


def test_refusals_in_a_row_wait_longer() -> None:
    following = after_watch(Watching("5", failures=3), WatchEnd("5", 0, LOST), NONE)
    assert following == Waiting(6.4, Watching("5", failures=4))


def test_a_version_that_is_too_old_is_listed_again_at_once() -> None:
    assert after_watch(Watching("5"), WatchEnd("5", 0, GONE), NONE) == list_again(1)
    assert after_watch(Watching("5", failures=9), WatchEnd("5", 0, GONE), NONE) == list_again(10)


def test_a_version_that_is_too_old_right_after_the_list_is_not_listed_in_a_tight_circle() -> None:
    fresh = after_page(Listing(failures=1), "5", "")
    assert isinstance(fresh, Watching)
    following = after_watch(fresh, WatchEnd("5", 0, GONE), NONE)
    assert following == Waiting(1.6, list_again(2))


def test_a_watch_that_is_not_found_asks_the_list_whether_the_api_vanished() -> None:
    assert after_watch(Watching("5"), WatchEnd("7", 3, NOT_FOUND), NONE) == list_again(1)


@given(st.booleans(), st.integers(0, 30), st.sampled_from(["5", "6"]), st.floats(0, 700), ERRORS, RNG)
def test_only_a_lost_version_or_a_lost_api_lists_again(
    fresh: bool, failures: int, version: str, lasted: float, error: KubeError, rng: Chance
) -> None:
    following = after_watch(Watching("5", failures, fresh), WatchEnd(version, lasted, error), rng)
    resumed = following.then if isinstance(following, Waiting) else following
    if isinstance(error, ApiError) and (error.gone or error.not_found):
        assert isinstance(resumed, Listing)
    else:
        assert isinstance(resumed, Watching)
        assert resumed.resource_version == version


@given(st.lists(st.tuples(ERRORS, RNG), min_size=1), st.booleans())
def test_trouble_never_makes_a_tight_circle(troubles: list[tuple[KubeError, Chance]], optional: bool) -> None:
    """However a server fails, there are at most two requests without a wait between them."""
    state: Listing | Watching = Watching("5")
    hurried = 0
    for error, rng in troubles:
        if isinstance(state, Watching):
            following = after_watch(state, WatchEnd("5", 0, error), rng)
        else:
            following = after_refused_list(state, error, rng, optional=optional)
        hurried = hurried + 1 if isinstance(following, Listing | Watching) else 0
        assert hurried <= 1
        if isinstance(following, Absent):
            following = after_absence(following, announced=False)
        state = following.then if isinstance(following, Waiting) else following
