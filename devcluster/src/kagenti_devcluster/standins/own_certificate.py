"""MLflow's certificate where there is no service CA: made by whoever installs the MLflow operator.

The CA is in ConfigMap `mlflow-ca` of the platform's namespace, where whoever needs it takes it from.
"""

from pathlib import Path

from trustme import CA

from kagenti_devcluster.cluster.kubectl import apply
from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.mlflow_server import NAME, TLS_SECRET
from kagenti_devcluster.standins.resources import SECRETS
from kagenti_devcluster.standins.service_ca import LOCAL_NAMES, build_tls_secret
from kagenti_operator.kube.client import KubeClient

CONFIG_MAP = "mlflow-ca"
CONFIG_MAP_KEY = "ca.crt"


async def install_own_certificate(client: KubeClient, kubeconfig: Path, profile: Profile) -> None:
    """Make Secret and ConfigMap unless they are there. Raises KubeError, DevClusterError."""
    if await client.get(SECRETS, TLS_SECRET, profile.applications):
        return
    authority = CA()
    host = f"{NAME}.{profile.applications}.svc"
    certificate = authority.issue_cert(host, f"{host}.cluster.local", *LOCAL_NAMES)
    metadata = {"name": TLS_SECRET, "namespace": profile.applications}
    secret = build_tls_secret(metadata, certificate.cert_chain_pems[0], certificate.private_key_pem)
    bundle = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": profile.names.namespace},
        "data": {CONFIG_MAP_KEY: authority.cert_pem.bytes().decode()},
    }
    await apply(kubeconfig, [bundle, {**secret}])
