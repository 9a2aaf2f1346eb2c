"""The client against a real API server."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.testing.platform import Platform, build_crd
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    MLFLOWS,
    SERVICES,
    Resource,
)
from kagenti_operator.kube.watch import Added, Bookmark, Deleted, Modified
from tests.support.cluster import Cluster


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


async def test_applying_the_same_twice_changes_nothing(admin: KubeClient, namespace: str) -> None:
    body = config_map(namespace, "settings", a="1")
    first = await admin.apply(CONFIG_MAPS, body)
    again = await admin.apply(CONFIG_MAPS, body)
    assert again.metadata.resource_version == first.metadata.resource_version
    assert await admin.get(CONFIG_MAPS, "settings", namespace) == first


async def test_applying_takes_over_a_field_and_leaves_the_others(admin: KubeClient, namespace: str) -> None:
    theirs = config_map(namespace, "settings", a="theirs", b="theirs")
    await admin.apply(CONFIG_MAPS, theirs, field_manager="somebody")
    taken = await admin.apply(CONFIG_MAPS, config_map(namespace, "settings", a="ours"))
    assert taken.data == {"a": "ours", "b": "theirs"}


async def test_create_does_not_touch_what_exists(admin: KubeClient, namespace: str) -> None:
    await admin.create(CONFIG_MAPS, config_map(namespace, "settings", a="1"))
    with pytest.raises(ApiError) as refusal:
        await admin.create(CONFIG_MAPS, config_map(namespace, "settings", a="2"))
    assert refusal.value.already_exists
    kept = await admin.get(CONFIG_MAPS, "settings", namespace)
    assert kept is not None
    assert kept.data == {"a": "1"}


async def test_a_patch_of_an_outdated_version_is_a_conflict(admin: KubeClient, namespace: str) -> None:
    first = await admin.create(CONFIG_MAPS, config_map(namespace, "settings", a="1"))
    body = {"metadata": {"resourceVersion": first.metadata.resource_version}, "data": {"a": "2"}}
    await admin.merge_patch(CONFIG_MAPS, "settings", body, namespace)
    with pytest.raises(ApiError) as refusal:
        await admin.merge_patch(CONFIG_MAPS, "settings", body, namespace)
    assert refusal.value.conflict
    assert not refusal.value.already_exists


async def test_only_the_object_that_was_meant_is_deleted(admin: KubeClient, namespace: str) -> None:
    obj = await admin.create(CONFIG_MAPS, config_map(namespace, "settings"))
    with pytest.raises(ApiError) as refusal:
        await admin.delete(CONFIG_MAPS, "settings", namespace, uid="another")
    assert refusal.value.conflict
    assert await admin.delete(CONFIG_MAPS, "settings", namespace, uid=obj.metadata.uid) is True
    assert await admin.delete(CONFIG_MAPS, "settings", namespace) is False
    assert await admin.get(CONFIG_MAPS, "settings", namespace) is None


async def test_pages_make_the_whole_list_of_one_moment(admin: KubeClient, namespace: str) -> None:
    names = {f"c{number}" for number in range(7)}
    for name in names:
        await admin.apply(CONFIG_MAPS, config_map(namespace, name))
    seen: set[str] = set()
    continue_, sizes = "", list[int]()
    while True:
        page = await admin.list_page(CONFIG_MAPS, namespace=namespace, limit=3, continue_=continue_)
        seen |= {obj.metadata.name for obj in page.items}
        sizes.append(len(page.items))
        continue_ = page.continue_
        # What changes between two pages belongs to the watch, not to the list.
        await admin.apply(CONFIG_MAPS, config_map(namespace, "c0", n=str(len(sizes))))
        if not continue_:
            break
    assert seen - {"kube-root-ca.crt"} == names
    assert all(size <= 3 for size in sizes)


async def test_a_selector_admits_some(admin: KubeClient, namespace: str) -> None:
    labelled = config_map(namespace, "one")
    labelled["metadata"]["labels"] = {"team": "a.b"}
    await admin.apply(CONFIG_MAPS, labelled)
    await admin.apply(CONFIG_MAPS, config_map(namespace, "two"))
    by_label = await admin.list_page(CONFIG_MAPS, namespace=namespace, label_selector="team in (x, a.b)")
    by_field = await admin.list_page(CONFIG_MAPS, namespace=namespace, field_selector="metadata.name=two")
    assert [obj.metadata.name for obj in by_label.items] == ["one"]
    assert [obj.metadata.name for obj in by_field.items] == ["two"]


async def test_a_watch_sends_what_happens_and_ends_on_time(admin: KubeClient, namespace: str) -> None:
    version = (await admin.list_page(SERVICES, namespace=namespace)).resource_version
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    }
    await admin.apply(SERVICES, service)
    await admin.apply(SERVICES, {**service, "spec": {"ports": [{"port": 81}]}})
    await admin.delete(SERVICES, "web", namespace)
    events = admin.watch(SERVICES, namespace=namespace, resource_version=version, timeout_seconds=3)
    async with aclosing(events):
        seen = [event async for event in events]
    assert [type(event) for event in seen if not isinstance(event, Bookmark)] == [Added, Modified, Deleted]


async def test_a_missing_permission_names_itself(cluster: Cluster, namespace: str, admin: KubeClient) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    await admin.raw(
        "POST",
        f"/api/v1/namespaces/{namespace}/serviceaccounts",
        body=yaml.safe_dump(account).encode(),
        content_type="application/yaml",
    )
    async with cluster.as_service_account(namespace, "nobody") as client:
        with pytest.raises(ApiError) as refusal:
            await client.list_page(DEPLOYMENTS)
    assert refusal.value.forbidden
    assert 'cannot list resource "deployments" in API group "apps" at the cluster scope' in str(refusal.value)


async def test_a_token_file_that_is_rewritten_is_followed(
    cluster: Cluster, namespace: str, admin: KubeClient, tmp_path: Path
) -> None:
    async with asyncio.timeout(60):
        while True:
            accounts = await admin.raw("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts")
            if b'"default"' in accounts:
                break
            await asyncio.sleep(0.05)
    config = yaml.safe_load((await cluster.service_account_kubeconfig(namespace, "default")).read_text())
    user = config["users"][0]["user"]
    token_file = tmp_path / "token"
    token_file.write_text("not-a-token")
    good, user["tokenFile"] = user.pop("token"), "token"
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    client = cluster.connect(tmp_path / "config")
    async with client:
        with pytest.raises(ApiError) as refusal:
            await client.raw("GET", "/version")
        assert refusal.value.status == 401
        token_file.write_text(good)
        assert b"gitVersion" in await client.raw("GET", "/version")
    assert client.connection.token() == good


async def test_a_namespace_that_is_being_deleted_is_known_as_such(admin: KubeClient, namespace: str) -> None:
    kept = config_map(namespace, "kept")
    kept["metadata"]["finalizers"] = ["example.com/keep"]
    await admin.apply(CONFIG_MAPS, kept)
    await admin.raw("DELETE", f"/api/v1/namespaces/{namespace}")
    with pytest.raises(ApiError) as refusal:
        await admin.create(CONFIG_MAPS, config_map(namespace, "late"))
    assert refusal.value.namespace_terminating
    await admin.merge_patch(CONFIG_MAPS, "kept", {"metadata": {"finalizers": None}}, namespace)


async def test_what_does_not_exist_is_none_for_one_and_an_error_for_many(admin: KubeClient) -> None:
    assert await admin.get(MLFLOWS, "mlflow") is None
    with pytest.raises(ApiError) as refusal:
        await admin.list_page(Resource("absent.example.com", "v1", "nothings", "Nothing", KubeObject))
    assert refusal.value.not_found


async def test_of_crds_only_the_metadata_is_sent(admin: KubeClient) -> None:
    crd = build_crd("client.example.com", "v1", "Widget", "widgets", scope="Namespaced")
    await Platform(admin).install_crd(crd)
    listed = await admin.list_page(CUSTOM_RESOURCE_DEFINITIONS)
    assert "widgets.client.example.com" in [crd.metadata.name for crd in listed.items]
    await Platform(admin).remove_crd(crd)
