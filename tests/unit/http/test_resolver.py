"""Under which name a Service is looked up, and what the server sees of it."""

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator.http import resolver
from kagenti_operator.http.resolver import absolute_name, cluster_domain
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.mlflow.client import MLflowClient
from tests.support.misbehaving_server import Answer, serving

HOST = "mlflow.opendatahub.svc"


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        (HOST, "cluster.local", f"{HOST}.cluster.local."),
        (f"{HOST}.cluster.local", "cluster.local", f"{HOST}.cluster.local."),
        (HOST, "example.internal", f"{HOST}.example.internal."),
        (HOST, None, HOST),
        (f"{HOST}.", "cluster.local", f"{HOST}."),
        ("mlflow.apps.example.com", "cluster.local", "mlflow.apps.example.com"),
        ("127.0.0.1", "cluster.local", "127.0.0.1"),
    ],
)
def test_a_services_name_is_looked_up_whole(host: str, domain: str | None, expected: str) -> None:
    assert absolute_name(host, domain) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search team1.svc.cluster.local svc.cluster.local cluster.local corp.example\n", "cluster.local"),
        (
            "nameserver 10.0.0.10\nsearch a.svc.k8s.example. svc.k8s.example.\noptions ndots:5\n",
            "k8s.example",
        ),
        ("search corp.example\n", None),
        ("", None),
    ],
)
def test_the_clusters_domain_is_the_one_in_the_search_list(
    text: str, expected: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    assert cluster_domain(file) == expected


def test_without_a_search_list_there_is_no_domain(tmp_path: Path) -> None:
    assert cluster_domain(tmp_path / "missing") is None


async def test_its_certificate_and_its_host_are_the_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of the service CA are for the name without domain and dot, and so are --allowed-hosts."""
    authority, asked = CA(), list[str]()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr(resolver, "cluster_domain", lambda: "cluster.local")
    answer = Answer(body={"experiment": {"experiment_id": "7", "name": "weather"}})
    async with serving(answer, tls=serving_context(authority, HOST)) as server:
        port = server.url.rpartition(":")[2]
        client = MLflowClient(token=FixedToken("t"), rng=random.Random(1), ca_files=[tmp_path / "ca.crt"])
        found = await client.get_experiment(f"https://{HOST}:{port}", "team1", "7")
        await client.close()
    assert found is not None
    assert asked == [f"{HOST}.cluster.local."]
    assert server.asked[0].headers["Host"] == f"{HOST}:{port}"
