"""Kubeconfig files that carry everything inline: server, authority, and a token or a client certificate."""

import base64
from pathlib import Path
from typing import Any

import yaml
from trustme import LeafCert

from kagenti_devcluster.cluster.pki import write_private


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def certificate_user(certificate: LeafCert) -> dict[str, str]:
    """The `user` of somebody who shows a client certificate."""
    return {
        "client-certificate-data": _base64(certificate.cert_chain_pems[0].bytes()),
        "client-key-data": _base64(certificate.private_key_pem.bytes()),
    }


def build_kubeconfig(
    server: str, authority: bytes, user: dict[str, str], namespace: str = "default"
) -> dict[str, Any]:
    """A kubeconfig of one cluster, one user and one context named `devcluster`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "devcluster",
        "clusters": [
            {
                "name": "devcluster",
                "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
            }
        ],
        "users": [{"name": "devcluster", "user": user}],
        "contexts": [
            {
                "name": "devcluster",
                "context": {"cluster": "devcluster", "user": "devcluster", "namespace": namespace},
            }
        ],
    }


def write_kubeconfig(path: Path, kubeconfig: dict[str, Any]) -> None:
    """Write it readable by its owner only: it holds a credential."""
    write_private(path, yaml.safe_dump(kubeconfig, sort_keys=False).encode())
