from structlog.testing import capture_logs

from kagenti_operator.runtime.observable import Observable


def test_subscribers_see_the_new_value_each_time_it_becomes_another_one() -> None:
    observable = Observable(0)
    seen: list[int] = []
    observable.set(1)
    observable.subscribe(lambda: seen.append(observable.value))
    for value in (1, 2, 2, 1):
        observable.set(value)
    assert seen == [2, 1]


def test_a_subscriber_that_fails_is_logged_and_stops_no_other() -> None:
    observable = Observable("a")
    seen: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    observable.subscribe(fail)
    observable.subscribe(lambda: seen.append(observable.value))
    with capture_logs() as logs:
        observable.set("b")
    assert seen == ["b"]
    assert [(line["event"], line["log_level"], line["exc_info"]) for line in logs] == [
        ("A subscriber failed", "error", True)
    ]
