"""The command line of section 3 of the contract, and what it says of mistakes."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kagenti_operator.cli.errors import UsageError
from kagenti_operator.cli.main import build_parser, main
from kagenti_operator.cli.run import build_settings
from kagenti_operator.contract import ROSSOCTL
from kagenti_operator.runtime.telemetry.listener import BindAddress


def parse(*flags: str) -> argparse.Namespace:
    return build_parser().parse_args(["run", *flags])


def test_everything_is_off_by_default() -> None:
    args = parse()
    assert not args.enable_mlflow
    assert not args.enable_otel_bootstrap
    assert not args.leader_elect
    assert not args.mlflow_allow_http
    assert build_settings(args).mlflow_experiment_name == "kagenti-traces"
    assert build_settings(args).max_concurrent_rolls == 32
    assert build_settings(args).agents_mlflow_address == "auto"


@pytest.mark.parametrize(
    "flag", ["enable-mlflow", "enable-otel-bootstrap", "leader-elect", "metrics-secure", "mlflow-allow-http"]
)
@pytest.mark.parametrize(
    ("suffix", "expected"), [("", True), ("=true", True), ("=false", False), ("=1", True), ("=F", False)]
)
def test_booleans_are_given_as_in_go(flag: str, suffix: str, expected: bool) -> None:
    assert getattr(parse(f"--{flag}{suffix}"), flag.replace("-", "_")) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", None),
        (":8081", BindAddress("", 8081)),
        ("127.0.0.1:9090", BindAddress("127.0.0.1", 9090)),
        ("[::]:8443", BindAddress("::", 8443)),
    ],
)
def test_an_address_of_0_switches_a_listener_off(text: str, expected: BindAddress | None) -> None:
    assert parse(f"--metrics-bind-address={text}").metrics_bind_address == expected
    assert parse(f"--health-probe-bind-address={text}").health_probe_bind_address == expected


@pytest.mark.parametrize("mode", ["auto", "gateway", "service"])
def test_agents_are_given_the_address_that_is_wanted(mode: str) -> None:
    assert build_settings(parse(f"--agents-mlflow-address={mode}")).agents_mlflow_address == mode


@pytest.mark.parametrize(
    "flag",
    [
        "--enable-mlflow=maybe",
        "--mlflow-allow-http=perhaps",
        "--metrics-bind-address=8080",
        "--mlflow-workspace=Team_1",
        "--platform-namespace=Team_1",
        "--agent-selector=a in b",
        "--agent-selector=",
        "--mlflow-poll-interval=0",
        "--mlflow-poll-interval=often",
        "--max-concurrent-rolls=0",
        "--max-concurrent-rolls=1.5",
        "--agents-mlflow-address=ingress",
        "--log-level=loud",
        "--no-such-flag",
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(flag)
    assert refused.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["--vers"],
        ["run", "--enable-ml"],
        ["run", "--mlflow-work=team1"],
        ["check", "--select=a=b"],
    ],
    ids=" ".join,
)
def test_the_beginning_of_a_flag_is_not_the_flag(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        build_parser().parse_args(command)
    assert refused.value.code == 2
    assert "usage: kagenti-operator" in capsys.readouterr().err


def test_the_namespace_is_the_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    assert build_settings(parse()).namespace == "kagenti-system"
    monkeypatch.setenv("POD_NAMESPACE", "elsewhere")
    assert build_settings(parse()).namespace == "elsewhere"


def test_all_names_follow_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    settings = build_settings(parse("--platform-name=rossoctl"))
    assert settings.names == ROSSOCTL
    assert (settings.namespace, settings.own_namespace) == ("rossoctl-system", "rossoctl-system")
    assert (settings.lease, settings.mlflow_experiment_name) == ("b7c4ae34.rossoctl.dev", "rossoctl-traces")
    assert settings.names.agent_selector == "rossoctl.io/type=agent"
    assert settings.names.deployment == "rossoctl-controller-manager"


def test_the_platform_may_be_in_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "traces")
    settings = build_settings(parse("--platform-namespace=kagenti-system", "--operator-name=second"))
    assert (settings.namespace, settings.own_namespace) == ("kagenti-system", "traces")
    assert (settings.names.deployment, settings.lease) == ("second", "b7c4ae34.kagenti.dev")
    assert build_settings(parse("--leader-election-id=third")).lease == "third"


def test_agents_are_found_by_further_selectors() -> None:
    assert build_settings(parse()).agent_selectors == ()
    flags = ("--agent-selector=openshell.ai/managed-by==openshell", "--agent-selector=a in (b, c), !d")
    assert build_settings(parse(*flags)).agent_selectors == (
        "openshell.ai/managed-by=openshell",
        "a in (b,c),!d",
    )


def test_a_selector_that_does_not_parse_is_reported_with_the_place_and_the_forms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse("--agent-selector=kagenti.io/type is agent")
    output = " ".join(capsys.readouterr().err.split())
    assert "'kagenti.io/type is agent' is no label selector" in output
    assert "not 'is'" in output
    assert "name in (one,other)" in output


def test_an_unknown_platform_is_reported_with_those_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse("--platform-name=openshift")
    assert "'openshift' is not the name of a platform: kagenti or rossoctl" in capsys.readouterr().err


def test_a_namespace_that_cannot_be_one_is_reported_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "Kagenti_System")
    assert main(["run"]) == 1
    output = capsys.readouterr().err
    assert "POD_NAMESPACE='Kagenti_System' cannot be a namespace" in output
    assert "fieldPath: metadata.namespace" in output


def test_a_link_to_what_is_switched_off_is_a_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--enable-console-link"]) == 1
    assert "add --enable-mlflow" in capsys.readouterr().err


def test_an_empty_workspace_is_none() -> None:
    assert build_settings(parse("--mlflow-workspace=")).mlflow_workspace is None
    assert build_settings(parse("--mlflow-workspace=team1")).mlflow_workspace == "team1"


def test_an_empty_experiment_name_is_refused() -> None:
    with pytest.raises(UsageError, match="--mlflow-experiment-name"):
        build_settings(parse("--mlflow-experiment-name="))


def test_a_ca_file_that_cannot_be_used_is_reported_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    path.write_text("no certificate")
    with pytest.raises(UsageError, match=r"ca\.crt.*PEM certificates"):
        build_settings(parse(f"--mlflow-ca-file={path}"))


def test_a_ca_file_that_is_not_there_yet_is_waited_for_and_logged(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    with capture_logs() as logs:
        assert build_settings(parse(f"--mlflow-ca-file={path}")).mlflow_ca_file == path
    assert [line["path"] for line in logs] == [str(path)]


def test_missing_credentials_are_reported_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert main(["run"]) == 1
    assert "absent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("user", "output"),
    [
        ({"token": "two\nlines"}, "write it anew, on one line"),
        ({"token": "t", "as": "jane"}, "impersonate jane, which no other server understands"),
        ({"token": "t", "as-groups": ["admins"]}, "need `as`, the user to impersonate"),
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}},
            "credential plugin false failed with exit status 1",
        ),
    ],
)
def test_credentials_that_never_do_stop_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    user: dict[str, Any],
    output: str,
) -> None:
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert main(["run", "--enable-mlflow"]) == 1
    assert output in capsys.readouterr().err


def test_metrics_are_secure_unless_a_flag_says_otherwise() -> None:
    assert parse().metrics_secure
    assert not parse("--metrics-secure=false").metrics_secure


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_metrics_certificate_that_cannot_be_used_is_reported_by_name(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "tls.crt").write_text(content)
        (tmp_path / "server.key").write_text(content)
    assert main(["run", f"--metrics-cert-path={tmp_path}", "--metrics-cert-key=server.key"]) == 1
    output = capsys.readouterr().err
    assert "--metrics-cert-path" in output
    assert "tls.crt" in output
    assert "server.key" in output
    assert "PEM" in output


def test_a_certificate_for_plain_http_is_a_contradiction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--metrics-secure=false", f"--metrics-cert-path={tmp_path}"]) == 1
    assert "leave one out" in capsys.readouterr().err
