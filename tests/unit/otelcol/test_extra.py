"""The part of the configuration that users bring: what is taken, and what is left out with which words."""

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kagenti_operator.otelcol import Facts, MLflowDestination
from kagenti_operator.otelcol.assemble import assemble
from kagenti_operator.otelcol.extra import MAX_BYTES, Merged, merge_extra
from kagenti_operator.otelcol.model import Configuration
from kagenti_operator.otelcol.render import config_hash, last_known_destination, render_configuration

DESTINATION = MLflowDestination(traces_endpoint="https://mlflow/v1/traces", workspace="a", experiment_id="1")
GOOD = """
exporters: {otlphttp/tempo: {endpoint: "http://tempo:4318"}}
service: {pipelines: {traces/tempo: {receivers: [otlp], exporters: [otlphttp/tempo]}}}
"""


def ours(*, modern: bool = False) -> Configuration:
    return assemble(
        Facts(
            openshift=True,
            mlflow=DESTINATION,
            phoenix=False,
            ingress_ca=False,
            modern_exporter_names=modern,
        )
    )


def merge(**texts: str) -> Merged:
    return merge_extra(ours(), {f"{name}.yaml": text for name, text in texts.items()})


def test_nothing_is_nothing() -> None:
    for data in ({}, {"a.yaml": ""}, {"a.yaml": "# only a comment"}, {"README": "no YAML: ["}):
        assert merge_extra(ours(), data) == Merged(ours())


def test_what_they_bring_stands_beside_ours() -> None:
    merged = merge(good=GOOD)
    assert merged.faults == ()
    assert list(merged.configuration.pipelines) == ["traces/mlflow", "traces/tempo"]
    assert list(merged.configuration.exporters) == ["debug", "otlphttp/mlflow", "otlphttp/tempo"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("exporters: [", "is no YAML: .* in line 2", id="no YAML"),
        pytest.param("- a", "is no mapping", id="a list"),
        pytest.param(
            "exporter: {}", "has exporter: allowed are extensions, receivers", id="a section's typo"
        ),
        pytest.param("service: {pipeline: {}}", "has service.pipeline: allowed are", id="a typo in service"),
        pytest.param("exporters: [otlp]", "has exporters that is no mapping", id="a list of components"),
        pytest.param("exporters: {otlp/x: 7}", "has exporters otlp/x that is no mapping", id="settings"),
        pytest.param(
            "exporters: {otlp x: {}}", "has exporters 'otlp x': .* type/name", id="a component's name"
        ),
        pytest.param(
            "service: {pipelines: {trace/x: {}}}", "has pipeline trace/x: .* traces, metrics", id="a signal"
        ),
        pytest.param(
            "service: {pipelines: {traces/x: {receivers: [otlp]}}}", "without receivers or", id="no exporter"
        ),
        pytest.param(
            "service: {pipelines: {traces/x: {receivers: otlp, exporters: [debug]}}}",
            "has pipeline traces/x: receivers that is no list",
            id="no list",
        ),
        pytest.param(
            "service: {pipelines: {traces/x: {receivers: [[otlp]], exporters: [debug]}}}",
            "has pipeline traces/x: receivers that is no list of names",
            id="a list of lists",
        ),
        pytest.param(
            "service: {pipelines: {traces/x: {receivers: [otlp], exporters: [otlp/x]}}}",
            "has pipeline traces/x with otlp/x in its exporters, which is not defined",
            id="an exporter that is not there",
        ),
        pytest.param(
            "service: {pipelines: {traces/x: {"
            "receivers: [otlp], processors: [filter/phoenix], exporters: [debug]}}}",
            "with filter/phoenix in its processors, which is not defined",
            id="ours, but not there now",
        ),
        pytest.param(
            "service: {extensions: [zpages]}", "extensions with zpages, which is not", id="extension"
        ),
        pytest.param(
            "connectors: {forward/x: {}}\n"
            "service: {pipelines: {traces/x: {receivers: [otlp], exporters: [forward/x]}}}",
            "has connector forward/x, which needs a pipeline",
            id="half a connector",
        ),
        pytest.param(
            "exporters: {otlp/x: {8080: a}}", "has a key that is no text in line 1: quote it", id="key"
        ),
        pytest.param(
            "exporters: {otlp/x: {}, otlp/x: {}}", "has the key 'otlp/x' twice in line 1", id="twice"
        ),
        pytest.param("a: &a {}\nexporters: *a", "has an alias in line 2", id="an alias"),
        pytest.param(
            "exporters: !!python/name:os.system {}",
            "has the tag tag:yaml.org,2002:python/name:os.system in line 1",
            id="a tag",
        ),
        pytest.param(
            "exporters: {otlp/x: {a: !mine 7}}", "has the tag !mine in line 1", id="a tag of their own"
        ),
        pytest.param("a: 1\n---\nb: 2", "more than one document", id="two documents"),
        pytest.param("[" * 100, "is nested deeper than 30", id="deep"),
        pytest.param(f"a: [{'0,' * 30000}]", "more than 20000 parts", id="many"),
        pytest.param("#" * (MAX_BYTES + 1), "is left out: all keys together may have 64 KiB", id="large"),
    ],
)
def test_a_bad_part_is_left_out_with_a_sentence_and_the_rest_goes_on(text: str, fault: str) -> None:
    merged = merge(good=GOOD, wrong=text)
    (found,) = merged.faults
    assert found.key == "wrong.yaml"
    assert re.search(fault, str(found)), str(found)
    assert merged.configuration == merge(good=GOOD).configuration


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("exporters: {otlphttp/mlflow: {endpoint: mine}}", "exporters otlphttp/mlflow"),
        ("exporters: {otlp_http/mlflow: {endpoint: mine}}", "exporters otlp_http/mlflow"),
        ("exporters: {otlp_grpc/phoenix: {}}", "exporters otlp_grpc/phoenix"),
        ("processors: {batch: {timeout: 1h}}", "processors batch"),
        ("extensions: {bearertokenauth/mlflow: {}}", "extensions bearertokenauth/mlflow"),
        (
            "service: {pipelines: {traces/mlflow: {receivers: [otlp], exporters: [debug]}}}",
            "pipelines traces/mlflow",
        ),
        (
            "service: {pipelines: {traces/default: {receivers: [otlp], exporters: [debug]}}}",
            "pipelines traces/default",
        ),
    ],
)
def test_what_is_ours_by_name_stays_ours_and_the_rest_of_the_part_is_taken(text: str, name: str) -> None:
    document = yaml.safe_load(text)
    document.setdefault("receivers", {})["otlp/mine"] = {}
    merged = merge(both=yaml.safe_dump(document))
    assert [str(fault) for fault in merged.faults] == [
        f"both.yaml has {name}, which the operator writes: name yours otherwise"
    ]
    assert "otlp/mine" in merged.configuration.receivers
    assert merged.configuration.exporters == ours().exporters
    assert merged.configuration.pipelines == ours().pipelines


def test_parts_may_need_each_other_and_fall_together() -> None:
    pipeline = "service: {pipelines: {traces/x: {receivers: [otlp], exporters: [otlp/x]}}}"
    assert merge(a=pipeline, b="exporters: {otlp/x: {}}").faults == ()
    wrong = "exporters: {otlp/x: {}}\nservice: {extensions: [zpages]}"
    assert [fault.key for fault in merge(a=pipeline, b=wrong).faults] == ["a.yaml", "b.yaml"]
    assert merge(a=pipeline, b=wrong).configuration == ours()


def test_two_parts_of_one_name_are_no_coincidence() -> None:
    (fault,) = merge(a=GOOD, b=GOOD).faults
    assert str(fault) == "b.yaml has exporters otlphttp/tempo, which is in a.yaml as well"


def test_a_key_that_nearly_ends_as_it_should_is_reported() -> None:
    (fault,) = merge_extra(ours(), {"tempo.yml": GOOD}).faults
    assert "keys that end in .yaml" in str(fault)


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("name", ["otlphttp/mlflow", "otlp_http/mlflow"])
def test_ours_can_be_named_by_either_name(name: str, modern: bool) -> None:
    text = f"service: {{pipelines: {{traces/x: {{receivers: [otlp], exporters: [{name}]}}}}}}"
    merged = merge_extra(ours(modern=modern), {"x.yaml": text})
    assert merged.faults == ()
    expected = "otlp_http/mlflow" if modern else "otlphttp/mlflow"
    assert merged.configuration.pipelines["traces/x"].exporters == (expected,)


@example("exporters: {otlp/x: {a: 1e3, b: '1e3', c: 0o7, d: on, f: ~, g: '', h: \"a\\nb\"}}")
@example("exporters: {otlp/x: {a: =, b: 2020-01-01, c: 2020-99-99, d: 0b_, e: 1:70}}")
@example("exporters: {otlp/x: {headers: [a]}}")
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_they_write_the_result_can_be_read_and_ours_is_in_it(text: str) -> None:
    merged = merge_extra(ours(), {"a.yaml": text})
    written = render_configuration(merged.configuration)
    document = yaml.load(written, Loader=yaml.BaseLoader)
    assert last_known_destination(written, config_hash(written)) == DESTINATION
    assert document["service"]["pipelines"]["traces/mlflow"]


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.recursive(
            st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.integers() | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
)
def test_their_settings_come_out_as_they_went_in(settings: dict[str, object]) -> None:
    text = yaml.safe_dump({"exporters": {"otlp/x": settings}}, allow_unicode=True)
    merged = merge(x=text)
    if merged.faults:
        # A key such as `on`, which is no text for us.
        assert "quote it" in str(merged.faults[0])
        return
    written = render_configuration(merged.configuration)
    assert repr(yaml.safe_load(written)["exporters"]["otlp/x"]) == repr(
        yaml.safe_load(text)["exporters"]["otlp/x"]
    )
