"""What is read from a pod's fields."""

from tests.unit.devcluster.node.builders import build_container


def test_ports_are_found_by_number_and_name() -> None:
    container = build_container(ports=[{"name": "http", "containerPort": 8080}])
    assert [container.port_number(port) for port in (80, "81", "http", "none")] == [80, 81, 8080, None]
