"""The endpoints behind a Service."""

from kagenti_devcluster.node.services import find_backends, index_by_service
from tests.unit.devcluster.node.builders import build_endpoint, build_service, build_slice


def test_a_service_leads_to_ready_endpoints_by_the_ports_name() -> None:
    ready = build_slice(
        "web", build_endpoint("10.77.0.2", ready=True), build_endpoint("10.77.0.3", ready=False)
    )
    assert find_backends(build_service("web"), [ready]) == {("10.96.1.2", 80): (("10.77.0.2", 8080),)}
    other_port = build_service("web", ports=[{"port": 80, "name": "grpc"}])
    assert find_backends(other_port, [ready]) == {}


def test_endpoints_that_are_going_serve_as_long_as_there_are_no_others() -> None:
    going = build_endpoint("10.77.0.2", ready=False, serving=True, terminating=True)
    assert find_backends(build_service("web"), [build_slice("web", going)]) == {
        ("10.96.1.2", 80): (("10.77.0.2", 8080),)
    }
    staying = build_slice("web", going, build_endpoint("10.77.0.3", ready=True))
    assert find_backends(build_service("web"), [staying]) == {("10.96.1.2", 80): (("10.77.0.3", 8080),)}


def test_without_an_address_or_for_udp_there_is_nothing_to_listen_on() -> None:
    found = [build_slice("web", build_endpoint("10.77.0.2", ready=True))]
    assert find_backends(build_service("web", clusterIP="None"), found) == {}
    udp = build_service("web", ports=[{"port": 53, "name": "http", "protocol": "UDP"}])
    assert find_backends(udp, found) == {}


def test_slices_are_found_by_their_service() -> None:
    assert index_by_service(build_slice("web")) == ("team1/web",)
