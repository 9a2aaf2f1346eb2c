from typing import Any

import msgspec

from kagenti_operator.contract import KAGENTI, ROSSOCTL
from kagenti_operator.controllers.authbridge.outcome import Injected
from kagenti_operator.controllers.authbridge.workload_files import build_files, is_for
from kagenti_operator.kube.objects.models import ConfigMap

OUTCOME = Injected(pod={}, config="mode: lite\n", restart_hash="h1")
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "u1"}


def build(outcome: Injected = OUTCOME, owner: dict[str, str] | None = OWNER) -> list[Any]:
    return [dict(it) for it in build_files(ROSSOCTL, "team1", "weather", outcome, owner)]


def test_the_file_is_the_workloads_and_goes_with_it() -> None:
    [file] = build()
    assert file["data"] == {"config.yaml": "mode: lite\n"}
    assert file["metadata"] == {
        "name": "authbridge-config-weather",
        "namespace": "team1",
        "labels": {"app.kubernetes.io/managed-by": "rossoctl-operator", "rossoctl.io/managed-by": "webhook"},
        "annotations": {"rossoctl.io/config-hash": "h1"},
        "ownerReferences": [{**OWNER, "controller": True, "blockOwnerDeletion": True}],
    }


def test_envoy_has_a_file_of_its_own() -> None:
    names = [it["metadata"]["name"] for it in build(Injected(pod={}, config="a", envoy_config="b"))]
    assert names == ["authbridge-config-weather", "envoy-config-weather"]


def test_what_nobody_owns_is_written_without_an_owner() -> None:
    [file] = build(owner=None)
    assert "ownerReferences" not in file["metadata"]


def test_a_file_is_for_the_pods_whose_hash_it_has() -> None:
    [manifest] = build_files(KAGENTI, "team1", "weather", OUTCOME, OWNER)
    file = msgspec.convert(manifest, ConfigMap, strict=False)
    assert is_for(KAGENTI, file, OUTCOME)
    assert not is_for(KAGENTI, file, Injected(pod={}, config="other", restart_hash="h2"))
    assert not is_for(KAGENTI, None, OUTCOME)
