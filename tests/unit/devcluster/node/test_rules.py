"""Small decisions of the node: probes, restarts, names, backends, tokens, placing."""

from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest

from kagenti_devcluster.cluster.pki import generate_signing_key, write_private
from kagenti_devcluster.node.hosts import build_entries, render_hosts
from kagenti_devcluster.node.kubelet import tail_offset
from kagenti_devcluster.node.models import Probe
from kagenti_devcluster.node.objects import Service, Slice
from kagenti_devcluster.node.probes import ProbeState
from kagenti_devcluster.node.runner import RestartPauses, is_restarted
from kagenti_devcluster.node.scheduler import find_mismatch, is_waiting
from kagenti_devcluster.node.services import find_backends, index_by_service
from kagenti_devcluster.node.tokens import renew_after, shorten
from tests.support.pods import build_container, build_pod


@pytest.mark.parametrize(
    ("verdict", "answers", "verdicts"),
    [
        (False, "+", [True]),
        (True, "-", [True]),
        (True, "--", [True, True]),
        (True, "---", [True, True, False]),
        (True, "--+--", [True] * 5),
        (False, "---+", [False, False, False, True]),
        (None, "--+", [None, None, True]),
        (None, "---", [None, None, False]),
    ],
)
def test_a_verdict_changes_after_enough_equal_answers(
    verdict: bool | None, answers: str, verdicts: list[bool | None]
) -> None:
    state = ProbeState(Probe(failure_threshold=3), verdict)
    assert [state.observe(answer == "+") for answer in answers] == verdicts


def test_a_success_threshold_counts_as_well() -> None:
    state = ProbeState(Probe(success_threshold=2), False)
    assert [state.observe(True) for _ in range(2)] == [False, True]


def test_pauses_double_up_to_a_limit_and_start_over_after_a_long_run() -> None:
    pauses = RestartPauses()
    assert [pauses.next(0.5) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pauses.next(61) == 1


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, code: int, again: bool) -> None:
    assert is_restarted(policy, code) is again


def test_ports_are_found_by_number_and_name() -> None:
    container = build_container(ports=[{"name": "http", "containerPort": 8080}])
    assert [container.port_number(port) for port in (80, "81", "http", "none")] == [80, 81, 8080, None]


def service(name: str, namespace: str = "team1", **spec: Any) -> Service:
    fields = {"clusterIP": "10.96.1.2", "ports": [{"port": 80, "name": "http"}], **spec}
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": fields}, Service)


def slice_of(name: str, *endpoints: dict[str, Any], port: int = 8080) -> Slice:
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-x", "namespace": "team1", "labels": labels}
    ports = [{"name": "http", "port": port}]
    return msgspec.convert({"metadata": metadata, "endpoints": list(endpoints), "ports": ports}, Slice)


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def test_a_service_has_all_its_names_and_the_short_one_at_home_only() -> None:
    services = [service("web"), service("api", "other", clusterIP="10.96.0.3")]
    assert build_entries("team1", services, {}) == [
        ("10.96.0.3", ("api.other", "api.other.svc", "api.other.svc.cluster.local")),
        ("10.96.1.2", ("web", "web.team1", "web.team1.svc", "web.team1.svc.cluster.local")),
    ]


def test_a_headless_service_leads_to_its_ready_pods_by_name() -> None:
    found = slice_of(
        "db",
        {**endpoint("10.77.0.2", ready=True), "hostname": "db-0"},
        endpoint("10.77.0.3", ready=False),
    )
    headless = service("db", clusterIP="None")
    entries = build_entries("team1", [headless], {("team1", "db"): [found]})
    assert [address for address, _ in entries] == ["10.77.0.2"]
    assert {"db", "db.team1.svc", "db-0.db", "db-0.db.team1.svc.cluster.local"} <= set(entries[0][1])
    eager = service("db", clusterIP="None", publishNotReadyAddresses=True)
    assert len(build_entries("team1", [eager], {("team1", "db"): [found]})) == 2


def test_an_external_name_is_nobodys_address() -> None:
    assert build_entries("team1", [service("out", type="ExternalName", clusterIP="")], {}) == []


def test_a_hosts_file_begins_with_oneself() -> None:
    assert render_hosts("10.77.0.9", ["web-0"], [("10.96.0.1", ("kubernetes", "kubernetes.default"))]) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.77.0.9\tweb-0\n"
        "10.96.0.1\tkubernetes kubernetes.default\n"
    )


def test_a_service_leads_to_ready_endpoints_by_the_ports_name() -> None:
    ready = slice_of("web", endpoint("10.77.0.2", ready=True), endpoint("10.77.0.3", ready=False))
    assert find_backends(service("web"), [ready]) == {("10.96.1.2", 80): (("10.77.0.2", 8080),)}
    other_port = service("web", ports=[{"port": 80, "name": "grpc"}])
    assert find_backends(other_port, [ready]) == {}


def test_endpoints_that_are_going_serve_as_long_as_there_are_no_others() -> None:
    going = endpoint("10.77.0.2", ready=False, serving=True, terminating=True)
    assert find_backends(service("web"), [slice_of("web", going)]) == {
        ("10.96.1.2", 80): (("10.77.0.2", 8080),)
    }
    staying = slice_of("web", going, endpoint("10.77.0.3", ready=True))
    assert find_backends(service("web"), [staying]) == {("10.96.1.2", 80): (("10.77.0.3", 8080),)}


def test_without_an_address_or_for_udp_there_is_nothing_to_listen_on() -> None:
    found = [slice_of("web", endpoint("10.77.0.2", ready=True))]
    assert find_backends(service("web", clusterIP="None"), found) == {}
    udp = service("web", ports=[{"port": 53, "name": "http", "protocol": "UDP"}])
    assert find_backends(udp, found) == {}


def test_slices_are_found_by_their_service() -> None:
    assert index_by_service(slice_of("web")) == ("team1/web",)


@pytest.mark.parametrize(("lifetime", "after"), [(600, 480), (3607, 2885.6), (10**7, 86400)])
def test_tokens_are_renewed_at_four_fifths_of_their_life_or_daily(lifetime: float, after: float) -> None:
    assert renew_after(lifetime) == pytest.approx(after)


def test_a_pod_fits_when_its_selector_does() -> None:
    labels = {"kubernetes.io/os": "linux"}
    assert find_mismatch(build_pod(), labels) == ""
    assert find_mismatch(build_pod(nodeSelector={"kubernetes.io/os": "linux"}), labels) == ""
    assert "disk=fast" in find_mismatch(build_pod(nodeSelector={"disk": "fast"}), labels)


def test_only_pods_without_a_node_and_without_gates_are_placed() -> None:
    assert is_waiting(build_pod())
    assert not is_waiting(build_pod(nodeName="devcluster"))
    assert not is_waiting(build_pod(schedulingGates=[{"name": "later"}]))


@pytest.mark.parametrize(
    ("text", "lines", "tail"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\n", 5, "a\nb\n"),
        ("a\nb\n", 0, ""),
        ("", 3, ""),
        ("x" * 100_000 + "\n" + "y" * 100_000 + "\n", 1, "y" * 100_000 + "\n"),
    ],
)
def test_the_last_lines_of_a_log_are_found_from_its_end(
    tmp_path: Path, text: str, lines: int, tail: str
) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    assert path.read_text()[tail_offset(path, lines) :] == tail


def test_a_shortened_token_is_the_same_but_for_its_end_and_is_signed_by_the_cluster(tmp_path: Path) -> None:
    key = generate_signing_key()
    write_private(tmp_path / "key", key)
    claims = {"iss": "https://kubernetes", "sub": "system:serviceaccount:a:b", "iat": 1000, "exp": 4600}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "x"})

    short = shorten(token, 60, tmp_path / "key")

    assert jwt.get_unverified_header(short) == jwt.get_unverified_header(token)
    read = jwt.decode(short, key, algorithms=["ES256"], options={"verify_exp": False})
    assert read == {**claims, "exp": 1060}
