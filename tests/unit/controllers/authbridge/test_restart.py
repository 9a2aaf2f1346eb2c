from typing import Any

import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.authbridge.restart import (
    build_pod,
    build_restart,
    build_resume,
    has_pods,
    is_stopped,
    is_to_resume,
    rolled_hash,
)

HASH = "kagenti.io/config-hash"
RESUME = "kagenti.io/resume"


def deployment(annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"labels": {"kagenti.io/type": "agent"}, "annotations": annotations or {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "weather", "namespace": "team1", "resourceVersion": "5"},
        "spec": {"template": {"metadata": metadata, "spec": {"containers": []}}},
        "status": status,
    }


def sandbox(version: str = "v1beta1", spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"agents.x-k8s.io/{version}",
        "kind": "Sandbox",
        "metadata": {"name": "coder", "namespace": "team1", "resourceVersion": "7", "generation": 3},
        "spec": {"podTemplate": {"spec": {"containers": []}}, **(spec or {})},
        "status": status,
    }


def test_the_pod_is_what_the_template_says() -> None:
    assert build_pod(deployment())["metadata"] == {
        "labels": {"kagenti.io/type": "agent"},
        "annotations": {},
        "namespace": "team1",
    }
    assert build_pod(sandbox()) == {"metadata": {"namespace": "team1"}, "spec": {"containers": []}}


def test_a_template_is_annotated_while_nobody_changed_it() -> None:
    workload = deployment()
    assert build_restart(KAGENTI, workload, "h1") == {
        "metadata": {"resourceVersion": "5"},
        "spec": {"template": {"metadata": {"annotations": {HASH: "h1"}}}},
    }
    assert rolled_hash(KAGENTI, workload) == ""
    assert rolled_hash(KAGENTI, deployment({HASH: "h1"})) == "h1"


@pytest.mark.parametrize(
    ("version", "stopped", "running"),
    [
        ("v1beta1", {"operatingMode": "Suspended"}, {"operatingMode": "Running"}),
        ("v1alpha1", {"replicas": 0}, {"replicas": 1}),
    ],
)
def test_a_sandbox_is_suspended_and_resumed(
    version: str, stopped: dict[str, Any], running: dict[str, Any]
) -> None:
    """Whoever leads by then sees on it that it is to be resumed."""
    suspend = build_restart(KAGENTI, sandbox(version), "h1")
    annotations = {HASH: "h1", RESUME: "true"}
    assert suspend["spec"] == {**stopped, "podTemplate": {"metadata": {"annotations": annotations}}}
    suspended = sandbox(version, {**suspend["spec"], **stopped})
    assert is_to_resume(KAGENTI, suspended)
    assert not is_to_resume(KAGENTI, sandbox(version))
    resume = build_resume(KAGENTI, suspended)
    assert resume["spec"] == {**running, "podTemplate": {"metadata": {"annotations": {RESUME: None}}}}


GONE = {"type": "Suspended", "status": "True", "observedGeneration": 3}


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (sandbox("v1alpha1", {"replicas": 0}, replicas=1), False),
        (sandbox("v1alpha1", {"replicas": 0}), True),
        (sandbox("v1beta1", {"operatingMode": "Suspended"}), False),
        (sandbox("v1beta1", {"operatingMode": "Suspended"}, conditions=[GONE]), True),
        (
            sandbox(
                "v1beta1", {"operatingMode": "Suspended"}, conditions=[{**GONE, "observedGeneration": 2}]
            ),
            False,
        ),
        # Somebody resumed it meanwhile.
        (sandbox("v1beta1", {"operatingMode": "Running"}), True),
    ],
)
def test_it_is_resumed_once_its_pod_is_gone(workload: dict[str, Any], expected: bool) -> None:
    assert is_stopped(workload) is expected


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (deployment(), False),
        (deployment(replicas=0), False),
        (deployment(replicas=2), True),
        (sandbox(), False),
        (sandbox(podIPs=["10.0.0.1"]), True),
        (sandbox(conditions=[{"type": "Ready", "status": "True"}]), True),
        (sandbox("v1alpha1", replicas=1), True),
        (sandbox("v1beta1", {"operatingMode": "Suspended"}, podIPs=["10.0.0.1"]), False),
    ],
)
def test_pods_are_seen_in_the_status(workload: dict[str, Any], expected: bool) -> None:
    assert has_pods(workload) is expected
