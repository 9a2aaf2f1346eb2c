"""What holds for every configuration, whatever was discovered."""

import itertools
import string
from dataclasses import replace
from functools import cache
from typing import Any, cast

import trustme
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kagenti_operator.otelcol import (
    Facts,
    MLflowDestination,
    config_hash,
    has_modern_exporter_names,
    last_known_destination,
    render,
)
from kagenti_operator.otelcol.memory import fit_memory_limits
from kagenti_operator.otelcol.render import last_known_ca

# Surrogates are no text: no API server and no file can hold them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
HOSTS = st.text(string.ascii_lowercase + string.digits + ".-", min_size=1)
PATHS = st.text(string.ascii_letters + string.digits + "/${}:%#?&")
URLS = st.builds("{}://{}/{}/v1/traces".format, st.sampled_from(["http", "https"]), HOSTS, PATHS)
DESTINATIONS = st.builds(MLflowDestination, traces_endpoint=URLS | TEXT) | st.builds(
    MLflowDestination,
    traces_endpoint=URLS | TEXT,
    workspace=TEXT,
    experiment_id=st.integers(0).map(str) | TEXT,
)
FACTS = st.builds(
    Facts,
    openshift=st.booleans(),
    mlflow=st.none() | DESTINATIONS,
    phoenix=st.booleans(),
    ingress_ca=st.booleans(),
    modern_exporter_names=st.booleans(),
    memory_bytes=st.none() | st.integers(1, 2**60),
    oauth_client=st.booleans(),
    mlflow_ca=st.none() | TEXT,
    mlflow_allow_http=st.booleans(),
)


# Texts do not change the structure, so these are all structures that there are.
STRUCTURES = [
    Facts(
        openshift=openshift,
        mlflow=mlflow,
        phoenix=phoenix,
        ingress_ca=ingress_ca,
        modern_exporter_names=modern,
        oauth_client=oauth_client,
    )
    for openshift, mlflow, phoenix, ingress_ca, modern, oauth_client in itertools.product(
        (False, True),
        (
            None,
            MLflowDestination(traces_endpoint="https://mlflow/v1/traces"),
            MLflowDestination(traces_endpoint="https://mlflow/v1/traces", workspace="a", experiment_id="1"),
            MLflowDestination(traces_endpoint="http://mlflow/v1/traces", workspace="a", experiment_id="1"),
        ),
        (False, True),
        (False, True),
        (False, True),
        (False, True),
    )
]


@cache
def parse(facts: Facts) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.load(render(facts), yaml.CSafeLoader))


@given(FACTS)
def test_the_same_facts_give_the_same_hash(facts: Facts) -> None:
    assert config_hash(render(facts)) == config_hash(render(replace(facts)))


@given(FACTS)
def test_the_destination_can_be_read_back(facts: Facts) -> None:
    text = render(facts)
    assert last_known_destination(text, config_hash(text)) == facts.mlflow


def test_mlflows_ca_can_be_read_back() -> None:
    certificate = trustme.CA().cert_pem.bytes().decode()
    destination = MLflowDestination(traces_endpoint="https://mlflow:8443/v1/traces")
    for modern in (False, True):
        facts = Facts(
            openshift=False, mlflow=destination, phoenix=False, ingress_ca=False, modern_exporter_names=modern
        )
        with_ca = render(replace(facts, mlflow_ca=certificate))
        assert last_known_ca(with_ca, config_hash(with_ca)) == certificate
        assert last_known_ca(with_ca, config_hash("edited")) is None
        assert last_known_ca(render(facts), config_hash(render(facts))) is None


@given(FACTS, st.text(min_size=1))
def test_an_edited_configuration_is_not_believed(facts: Facts, edit: str) -> None:
    text = render(facts)
    assert last_known_destination(text + edit, config_hash(text)) is None
    assert last_known_destination(text, None) is None


@example("2020-99-99")
@example("[")
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_reading_back_never_fails(text: str) -> None:
    # The hash fits, so this is what an operator of another version could have written.
    last_known_destination(text, config_hash(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda it: st.lists(it) | st.dictionaries(TEXT, it)
    )
)
def test_reading_back_survives_any_shape(exporter: Any) -> None:
    text = yaml.safe_dump({"exporters": {"otlphttp/mlflow": exporter}})
    last_known_destination(text, config_hash(text))


def mlflow_exporter(facts: Facts) -> dict[str, Any] | None:
    exporters = parse(facts)["exporters"]
    return exporters.get("otlphttp/mlflow") or exporters.get("otlp_http/mlflow")


def test_every_pipeline_uses_only_what_is_defined() -> None:
    for facts in STRUCTURES:
        configuration = parse(facts)
        service = configuration["service"]
        assert service["extensions"] == list(configuration["extensions"])
        for pipeline in service["pipelines"].values():
            for role in ("receivers", "processors", "exporters"):
                assert set(pipeline[role]) <= set(configuration[role])


def test_every_exporter_and_processor_is_used() -> None:
    for facts in STRUCTURES:
        configuration = parse(facts)
        for role in ("processors", "exporters"):
            used = {id_ for it in configuration["service"]["pipelines"].values() for id_ in it[role]}
            # The debug exporter belongs to the base, whoever uses it.
            assert set(configuration[role]) - {"debug"} <= used


def test_memory_is_limited_first_and_batches_are_made_last() -> None:
    for facts in STRUCTURES:
        for pipeline in parse(facts)["service"]["pipelines"].values():
            assert pipeline["processors"][0] == "memory_limiter"
            assert pipeline["processors"][-1] == "batch"


@given(st.integers(1, 2**60))
def test_the_limits_fit_every_container_and_the_collector_takes_them(container_bytes: int) -> None:
    limits = fit_memory_limits(container_bytes)
    assert 0 < limits.spike_limit_mib < limits.limit_mib
    # Below that no collector starts.
    if container_bytes >= 3 * 2**20:
        assert limits.limit_mib * 2**20 <= container_bytes * 0.8


def test_what_mlflow_does_not_take_is_sent_again() -> None:
    for facts in STRUCTURES:
        if exporter := mlflow_exporter(facts):
            assert exporter["retry_on_failure"] == {
                "enabled": True,
                "initial_interval": "5s",
                "max_interval": "30s",
                "max_elapsed_time": "300s",
            }


def test_mlflow_is_an_exporter_exactly_where_there_is_a_destination() -> None:
    for facts in STRUCTURES:
        assert (mlflow_exporter(facts) is None) == (facts.mlflow is None)


def test_mlflow_is_never_reached_without_checking_its_certificate() -> None:
    for facts in STRUCTURES:
        exporter = mlflow_exporter(facts) or {}
        assert not {"insecure", "insecure_skip_verify"} & set(exporter.get("tls", {}))


def test_headers_are_written_for_a_workspace_only() -> None:
    for facts in STRUCTURES:
        has_workspace = facts.mlflow is not None and facts.mlflow.workspace is not None
        assert ("headers" in (mlflow_exporter(facts) or {})) == has_workspace


def test_old_and_new_names_are_never_mixed() -> None:
    for facts in STRUCTURES:
        types = {id_.partition("/")[0] for id_ in parse(facts)["exporters"]}
        assert not types & (
            {"otlp", "otlphttp"} if facts.modern_exporter_names else {"otlp_grpc", "otlp_http"}
        )


@given(st.text())
def test_any_text_may_stand_as_an_image(image: str) -> None:
    assert has_modern_exporter_names(image) in {True, False}


@given(st.integers(0, 9), st.integers(0, 99999), st.integers(0, 99))
def test_versions_are_compared_as_numbers(major: int, minor: int, patch: int) -> None:
    image = f"otel/opentelemetry-collector:{major}.{minor}.{patch}"
    assert has_modern_exporter_names(image) == ((major, minor) >= (0, 144))


@given(FACTS)
def test_the_token_goes_over_tls_only_unless_that_is_permitted(facts: Facts) -> None:
    exporter = mlflow_exporter(facts)
    if exporter is None or exporter.get("auth") != {"authenticator": "bearertokenauth/mlflow"}:
        return
    assert facts.mlflow_allow_http or exporter["traces_endpoint"].lower().startswith("https://")
    assert not exporter.get("tls", {}).get("insecure")
    assert not exporter.get("tls", {}).get("insecure_skip_verify")
