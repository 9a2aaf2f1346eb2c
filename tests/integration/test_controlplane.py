"""The control plane that everything else stands on."""

import asyncio
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.errors import DevClusterError
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from tests.support.cluster import Cluster

_CHILD = """
import sys
from pathlib import Path
from kagenti_devcluster.cluster.controlplane import ControlPlane
control_plane = ControlPlane(Path(sys.argv[1]), controller_manager=False)
control_plane.start()
print(*[component.pid for component in control_plane.components], flush=True)
sys.stdin.read()
"""


async def test_controllers_make_a_deployments_pods(admin: KubeClient, namespace: str) -> None:
    pod = {"containers": [{"name": "main", "image": "example"}]}
    await admin.create(
        DEPLOYMENTS,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
            },
        },
    )
    async with asyncio.timeout(60):
        while not json.loads(await admin.raw("GET", f"/api/v1/namespaces/{namespace}/pods"))["items"]:
            await asyncio.sleep(0.1)


async def test_rbac_is_enforced_for_service_account_tokens(cluster: Cluster, namespace: str) -> None:
    async with asyncio.timeout(60):
        async with cluster.as_admin() as admin:
            account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            while not await _exists(admin, account):
                await asyncio.sleep(0.1)
    async with cluster.as_service_account(namespace, "default") as client:
        with pytest.raises(ApiError) as refusal:
            await client.list_page(CONFIG_MAPS, namespace=namespace)
    assert refusal.value.forbidden
    assert f"system:serviceaccount:{namespace}:default" in refusal.value.message


async def _exists(client: KubeClient, path: str) -> bool:
    try:
        await client.raw("GET", path)
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return True


def test_a_killed_api_server_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path / "control-plane", controller_manager=False)
    try:
        control_plane.start()
        asyncio.run(_write(control_plane))
        before = control_plane.server_url
        control_plane.kill_apiserver()
        control_plane.start_apiserver()
        assert control_plane.server_url == before
        assert asyncio.run(_read(control_plane)) == {"kept": "yes"}
    finally:
        control_plane.close()


async def _write(control_plane: ControlPlane) -> None:
    async with Cluster(control_plane, control_plane.admin_kubeconfig.parent).as_admin() as admin:
        await admin.apply(
            CONFIG_MAPS,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "data", "namespace": "default"},
                "data": {"kept": "yes"},
            },
        )


async def _read(control_plane: ControlPlane) -> dict[str, str] | None:
    async with Cluster(control_plane, control_plane.admin_kubeconfig.parent).as_admin() as admin:
        found = await admin.get(CONFIG_MAPS, "data", "default")
    return found.data if found else None


def test_nothing_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "control-plane")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        handles = [os.pidfd_open(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(handles) == 2
        owner.kill()
    for handle in handles:
        # Readable when the process has ended.
        ready, _, _ = select.select([handle], [], [], 10)
        os.close(handle)
        assert ready, "a process outlived its owner"


def test_a_component_that_cannot_run_is_reported_with_its_log(tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path / "control-plane", controller_manager=False)
    try:
        # Somebody else's file where etcd's data should go.
        (tmp_path / "control-plane" / "etcd").write_text("not a directory")
        with pytest.raises(DevClusterError, match=r"etcd exited with \d+: the last lines of .*etcd\.log"):
            control_plane.start()
    finally:
        control_plane.close()
