import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import ConfigMap, LabelledObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import CONFIG_MAPS, RBAC, ROLE_BINDINGS, Resource
from kagenti_operator.runtime.control.applier import Applier
from tests.support.cluster import Cluster

MANAGED_BY = "app.kubernetes.io/managed-by"
# A RoleBinding with all of its labels: of those the operator reads one.
LABELLED = Resource(RBAC, "v1", "rolebindings", "RoleBinding", LabelledObject)


@dataclass
class Bench:
    """An applier, and the requests that it made."""

    client: KubeClient
    namespace: str
    requests: list[str]
    applier: Applier = field(init=False)

    def __post_init__(self) -> None:
        self.applier = Applier(self.client)

    async def binding(self) -> RoleBinding | None:
        return await self.client.get(ROLE_BINDINGS, "access", self.namespace)

    def writes(self) -> list[str]:
        return [method for method in self.requests if method != "GET"]

    def desired(self, *subjects: str) -> dict[str, Any]:
        return {
            "apiVersion": ROLE_BINDINGS.api_version,
            "kind": ROLE_BINDINGS.kind,
            "metadata": {"name": "access", "namespace": self.namespace, "labels": {MANAGED_BY: "tests"}},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": s, "namespace": "x"} for s in subjects],
        }


@pytest.fixture
async def bench(cluster: Cluster, namespace: str) -> AsyncGenerator[Bench]:
    requests: list[str] = []
    client = KubeClient(
        load_connection({"KUBECONFIG": str(cluster.admin_kubeconfig)}),
        rng=random.Random(1),
        observer=lambda method, _, __: requests.append(method),
    )
    async with client:
        yield Bench(client, namespace, requests)


async def test_what_is_missing_is_made_and_what_is_there_costs_no_request(bench: Bench) -> None:
    with capture_logs() as logs:
        assert await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), None) is True
        current = await bench.binding()
        assert await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), current) is False
    assert bench.writes() == ["PATCH"]
    assert logs == [
        {
            "event": "Applied",
            "log_level": "info",
            "kind": "RoleBinding",
            "namespace": bench.namespace,
            "name": "access",
        }
    ]


async def test_what_somebody_changed_is_put_right_and_what_they_added_stays(bench: Bench) -> None:
    await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), None)
    changed = {"metadata": {"labels": {MANAGED_BY: "them", "theirs": "yes"}}}
    current = await bench.client.merge_patch(ROLE_BINDINGS, "access", changed, bench.namespace)
    assert await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a", "b"), current) is True
    current = await bench.binding()
    assert current
    labelled = await bench.client.get(LABELLED, "access", bench.namespace)
    assert labelled
    assert labelled.metadata.labels == {MANAGED_BY: "tests", "theirs": "yes"}
    assert [subject.name for subject in current.subjects or ()] == ["a", "b"]
    assert await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a", "b"), current) is False


async def test_what_is_not_wanted_goes_once(bench: Bench) -> None:
    await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), None)
    current = await bench.binding()
    with capture_logs() as logs:
        assert await bench.applier.delete(ROLE_BINDINGS, current) is True
        assert await bench.applier.delete(ROLE_BINDINGS, current) is False
        assert await bench.applier.delete(ROLE_BINDINGS, None) is False
    assert await bench.binding() is None
    assert [line["event"] for line in logs] == ["Deleted"]


async def test_another_object_that_took_the_name_is_not_deleted(bench: Bench) -> None:
    await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), None)
    stale = await bench.binding()
    await bench.applier.delete(ROLE_BINDINGS, stale)
    await bench.applier.ensure(ROLE_BINDINGS, bench.desired("a"), None)
    with pytest.raises(ApiError) as refused:
        await bench.applier.delete(ROLE_BINDINGS, stale)
    assert refused.value.conflict
    assert await bench.binding() is not None


async def test_an_object_that_is_being_deleted_is_left_alone(bench: Bench) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": bench.namespace, "finalizers": ["tests.example/hold"]},
    }
    held: ConfigMap = await bench.client.apply(CONFIG_MAPS, body)
    assert await bench.applier.delete(CONFIG_MAPS, held) is True
    held_on = await bench.client.get(CONFIG_MAPS, "held", bench.namespace)
    assert held_on
    assert await bench.applier.delete(CONFIG_MAPS, held_on) is False
    await bench.client.merge_patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, bench.namespace)


async def test_a_field_that_does_not_converge_is_logged(bench: Bench) -> None:
    desired = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "odd", "namespace": bench.namespace},
        "immutable": False,
    }
    with capture_logs() as logs:
        await bench.applier.ensure(CONFIG_MAPS, desired, None)
        current = await bench.client.get(CONFIG_MAPS, "odd", bench.namespace)
        await bench.applier.ensure(CONFIG_MAPS, desired, current)
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert [(line["name"], line["field"]) for line in warnings] == [("odd", ".immutable")]
