import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.collector.foreign import (
    FIRST_SECONDS,
    Outlook,
    Present,
    keep_foreign,
    look_at,
    seconds_to_first_roll,
)
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.otelcol.deliveries import MAX_CHARACTERS, find_deliveries
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.otelcol.render import config_hash

ENDPOINT = MLflowDestination(traces_endpoint="https://mlflow/v1/traces")
WHOLE = MLflowDestination(traces_endpoint="https://mlflow/v1/traces", workspace="team1", experiment_id="1")
WORKS = """
exporters: {debug: {}, otlp/tempo: {}, otlp/unused: {}}
connectors: {forward: {}}
service:
  pipelines:
    traces: {exporters: [debug, forward]}
    traces/2: {exporters: [otlp/tempo]}
"""


def config_map(text: str, annotated: str | None = None) -> ConfigMap:
    annotations = {} if annotated is None else {"kagenti.io/otel-config-hash": annotated}
    metadata = {"name": "otel-collector-config", "annotations": annotations}
    return msgspec.convert({"metadata": metadata, "data": {"base.yaml": text}}, ConfigMap)


OURS, HELMS, SHOWS = Present(ours=True), Present(ours=False, deliveries=("otlp/tempo",)), Present(ours=False)


def outlook(
    destination: MLflowDestination | None = None,
    *,
    phoenix: bool = False,
    expected: bool = True,
    by_kubernetes: bool = True,
    sends_token: bool = True,
) -> Outlook:
    return Outlook(
        destination=destination,
        phoenix=phoenix,
        mlflow_expected=expected,
        by_kubernetes=by_kubernetes,
        sends_token=sends_token,
    )


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        pytest.param(outlook(WHOLE), None, id="everything is known"),
        pytest.param(outlook(ENDPOINT), "mlflow.workspace", id="no workspace"),
        pytest.param(outlook(ENDPOINT, by_kubernetes=False), None, id="an OAuth client needs no workspace"),
        pytest.param(outlook(WHOLE, sends_token=False), "mlflow.allowHTTP", id="no token to http"),
        pytest.param(
            outlook(phoenix=True), "MLflow cannot take", id="Phoenix alone where MLflow is expected"
        ),
        pytest.param(outlook(phoenix=True, expected=False), None, id="Phoenix alone where it is not"),
        pytest.param(outlook(expected=False), "neither MLflow nor Phoenix", id="nothing at all"),
    ],
)
def test_one_that_works_stays_until_ours_delivers_what_it_is_to_deliver(
    found: Outlook, missing: str | None
) -> None:
    assert keep_foreign(found, OURS) is None
    assert keep_foreign(found, SHOWS) is None
    kept = keep_foreign(found, HELMS)
    if missing is None:
        assert kept is None
        return
    assert kept is not None
    assert (kept.reason, kept.type) == ("ConfigurationKept", "Normal")
    for part in ("otlp/tempo", missing, "otel-collector-extra"):
        assert part in kept.message


def test_the_first_roll_waits_for_an_mlflow_that_is_on_its_way_and_not_for_ever() -> None:
    for phoenix in (False, True):
        found = outlook(phoenix=phoenix)
        assert seconds_to_first_roll(found, rolled_before=False, waited=100) == FIRST_SECONDS - 100
        assert seconds_to_first_roll(found, rolled_before=False, waited=FIRST_SECONDS + 1) == 0


@pytest.mark.parametrize(
    ("found", "rolled_before"),
    [
        pytest.param(outlook(expected=False), False, id="no MLflow is wanted"),
        pytest.param(outlook(ENDPOINT), False, id="it is there, and refuses spans"),
        pytest.param(outlook(WHOLE), False, id="all is known"),
        pytest.param(outlook(), True, id="it was rolled to a configuration of ours"),
    ],
)
def test_no_roll_waits_where_waiting_saves_none(found: Outlook, rolled_before: bool) -> None:
    assert seconds_to_first_roll(found, rolled_before=rolled_before, waited=0) == 0


def test_only_exporters_that_a_pipeline_uses_and_that_send_count() -> None:
    assert find_deliveries(WORKS) == ("otlp/tempo",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "2020-99-99",
        "exporters: [otlp]",
        "service: {pipelines: {traces: {exporters: otlp}}}",
        "{exporters: {debug/1: {}, nop: {}}, service: {pipelines: {traces: {exporters: [debug/1, nop]}}}}",
    ],
)
def test_what_delivers_nowhere_is_not_kept(text: str) -> None:
    assert find_deliveries(text) == ()


def test_what_is_too_large_to_read_is_kept_and_reported_as_such() -> None:
    present = look_at(KAGENTI, config_map(f"# {'x' * MAX_CHARACTERS}\n{{}}"))
    kept = keep_foreign(outlook(), present)
    assert kept
    assert (
        "delivers by exporters that are not known, as it is larger than 256 KiB and not read." in kept.message
    )


def test_a_configuration_is_read_once_while_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_at(KAGENTI, config_map(f"{WORKS}# read")) == HELMS
    monkeypatch.setattr(yaml, "load", pytest.fail)
    assert look_at(KAGENTI, config_map(f"{WORKS}# read")) == HELMS


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_looking_never_fails(text: str) -> None:
    find_deliveries(text)


def test_what_the_operator_wrote_is_not_foreign_until_somebody_edits_it() -> None:
    assert look_at(KAGENTI, None) == SHOWS
    assert look_at(KAGENTI, config_map(WORKS, config_hash(WORKS))) == OURS
    assert look_at(KAGENTI, config_map(WORKS)) == HELMS
    assert look_at(KAGENTI, config_map(WORKS, config_hash("earlier"))) == HELMS
    assert look_at(KAGENTI, config_map("service: {}")) == SHOWS
