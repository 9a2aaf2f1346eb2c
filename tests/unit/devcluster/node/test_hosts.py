"""The names by which a pod finds Services."""

from kagenti_devcluster.node.hosts import build_entries, render_hosts
from tests.unit.devcluster.node.builders import build_endpoint, build_service, build_slice


def test_a_service_has_all_its_names_and_the_short_one_at_home_only() -> None:
    services = [build_service("web"), build_service("api", "other", clusterIP="10.96.0.3")]
    assert build_entries("team1", services, {}) == [
        ("10.96.0.3", ("api.other", "api.other.svc", "api.other.svc.cluster.local")),
        ("10.96.1.2", ("web", "web.team1", "web.team1.svc", "web.team1.svc.cluster.local")),
    ]


def test_a_headless_service_leads_to_its_ready_pods_by_name() -> None:
    found = build_slice(
        "db",
        {**build_endpoint("10.77.0.2", ready=True), "hostname": "db-0"},
        build_endpoint("10.77.0.3", ready=False),
    )
    headless = build_service("db", clusterIP="None")
    entries = build_entries("team1", [headless], {("team1", "db"): [found]})
    assert [address for address, _ in entries] == ["10.77.0.2"]
    assert {"db", "db.team1.svc", "db-0.db", "db-0.db.team1.svc.cluster.local"} <= set(entries[0][1])
    eager = build_service("db", clusterIP="None", publishNotReadyAddresses=True)
    assert len(build_entries("team1", [eager], {("team1", "db"): [found]})) == 2


def test_an_external_name_is_nobodys_address() -> None:
    assert build_entries("team1", [build_service("out", type="ExternalName", clusterIP="")], {}) == []


def test_a_hosts_file_begins_with_oneself() -> None:
    assert render_hosts("10.77.0.9", ["web-0"], [("10.96.0.1", ("kubernetes", "kubernetes.default"))]) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.77.0.9\tweb-0\n"
        "10.96.0.1\tkubernetes kubernetes.default\n"
    )
