import pytest

from kagenti_operator.controllers.collector.ingress_ca import build_bundle, build_config_map
from kagenti_operator.kube.objects.workloads import Workload, WorkloadMeta


@pytest.mark.parametrize(
    ("ingress", "root", "expected"),
    [
        ("INGRESS\n", "ROOT", "INGRESS\nROOT\n"),
        ("INGRESS", None, "INGRESS\n"),
        ("INGRESS", " \n", "INGRESS\n"),
        (None, "ROOT", None),
        (" ", "ROOT", None),
    ],
)
def test_the_bundle_is_the_ingress_ca_then_the_root_ca(
    ingress: str | None, root: str | None, expected: str | None
) -> None:
    assert build_bundle(ingress, root) == expected


def test_the_bundle_goes_with_the_operator() -> None:
    owner = Workload(metadata=WorkloadMeta(name="controller-manager", namespace="kagenti-system", uid="1-2"))
    body = build_config_map("kagenti-system", "INGRESS\n", owner)
    assert body["metadata"]["ownerReferences"] == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "controller-manager", "uid": "1-2"}
    ]
    assert "ownerReferences" not in build_config_map("kagenti-system", "INGRESS\n", None)["metadata"]
