"""Which pods are placed on the node."""

from kagenti_devcluster.node.scheduler import find_mismatch, is_waiting
from tests.unit.devcluster.node.builders import build_pod


def test_a_pod_fits_when_its_selector_does() -> None:
    labels = {"kubernetes.io/os": "linux"}
    assert find_mismatch(build_pod(), labels) == ""
    assert find_mismatch(build_pod(nodeSelector={"kubernetes.io/os": "linux"}), labels) == ""
    assert "disk=fast" in find_mismatch(build_pod(nodeSelector={"disk": "fast"}), labels)


def test_only_pods_without_a_node_and_without_gates_are_placed() -> None:
    assert is_waiting(build_pod())
    assert not is_waiting(build_pod(nodeName="devcluster"))
    assert not is_waiting(build_pod(schedulingGates=[{"name": "later"}]))
