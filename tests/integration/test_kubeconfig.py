"""What a kubeconfig says beside server and credentials, obeyed towards a real API server."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.kube.errors import Unreachable
from tests.integration.conftest import Cluster
from tests.support.connect_proxy import connect_proxy


def kubeconfig(cluster: Cluster, path: Path, *, entry: dict[str, Any], user: dict[str, Any]) -> Path:
    """The administrator's kubeconfig with further fields of cluster and user."""
    config = yaml.safe_load(cluster.admin_kubeconfig.read_text())
    config["clusters"][0]["cluster"] |= entry
    config["users"][0]["user"] |= user
    path.write_text(yaml.safe_dump(config))
    return path


async def test_impersonation_is_what_the_api_server_sees(cluster: Cluster, tmp_path: Path) -> None:
    user = {
        "as": "jörg@example.com",
        "as-uid": "u-1",
        "as-groups": ["developers", "team one"],
        "as-user-extra": {"example.com/project%": ["one", "two"]},
    }
    path = kubeconfig(cluster, tmp_path / "config", entry={}, user=user)
    async with cluster.connect(path) as client:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await client.raw(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=json.dumps(body).encode()
        )
    seen = json.loads(answer)["status"]["userInfo"]
    assert (seen["username"], seen["uid"]) == ("jörg@example.com", "u-1")
    assert set(seen["groups"]) == {"developers", "team one", "system:authenticated"}
    assert seen["extra"] == {"example.com/project%": ["one", "two"]}


async def test_the_way_is_the_proxys_and_the_certificate_that_of_the_name_for_tls(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with connect_proxy(cluster.control_plane.port) as proxy:
        entry = {"server": "https://api.example:6443", "proxy-url": f"http://{proxy.address}"}
        path = kubeconfig(cluster, tmp_path / "config", entry=entry, user={})
        async with cluster.connect(path) as client:
            with pytest.raises(Unreachable, match="is not trusted"):
                await client.raw("GET", "/version")
        entry["tls-server-name"] = "kubernetes.default.svc"
        path = kubeconfig(cluster, tmp_path / "config", entry=entry, user={})
        async with cluster.connect(path) as client:
            assert b"gitVersion" in await client.raw("GET", "/version")
    assert proxy.asked == ["api.example:6443"] * 2
