from kagenti_operator.controllers.agent_experiments import FORMER_NAME_SECONDS, check
from kagenti_operator.mlflow.client import Experiment

WEATHER = Experiment(id="7", name="weather")
RENAMED = Experiment(id="7", name="renamed")
URI = "https://mlflow.example"


def test_an_experiment_is_granted_by_its_name() -> None:
    known = check(None, WEATHER, URI, now=0, due=300)
    assert known.names(0) == {"weather"}
    assert known.next_look() == 300


def test_a_renamed_experiment_is_granted_under_both_names_for_a_while() -> None:
    renamed = check(check(None, WEATHER, URI, now=0, due=300), RENAMED, URI, now=300, due=600)
    assert renamed.names(300) == {"weather", "renamed"}
    assert renamed.next_look() == 300 + FORMER_NAME_SECONDS
    assert renamed.names(300 + FORMER_NAME_SECONDS) == {"renamed"}


def test_polling_on_does_not_cut_the_while_short() -> None:
    renamed = check(check(None, WEATHER, URI, now=0, due=1), RENAMED, URI, now=1, due=2)
    polled = check(renamed, RENAMED, URI, now=2, due=3)
    assert polled.names(2) == {"weather", "renamed"}
    later = check(polled, RENAMED, URI, now=2 + FORMER_NAME_SECONDS, due=600)
    assert later.names(2 + FORMER_NAME_SECONDS) == {"renamed"}
    assert later.next_look() == 600
