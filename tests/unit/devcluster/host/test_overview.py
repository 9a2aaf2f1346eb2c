"""What `status` shows."""

from typing import Any

from kagenti_devcluster.host.overview import Overview, render_overview


def test_the_overview_shows_components_addresses_pods_and_their_troubles() -> None:
    waiting: dict[str, Any] = {
        "state": {"waiting": {"reason": "Error", "message": "ConfigMap 'x' does not exist"}}
    }
    status: dict[str, Any] = {"containerStatuses": [{"state": {"running": {}}}, waiting]}
    overview = Overview(
        phase="ready",
        profile="openshift-ai-3.5",
        kubeconfig="/k",
        addresses={"mlflow": "127.0.0.1:8443"},
        components={"etcd": "running"},
        pods=({"metadata": {"namespace": "a", "name": "web"}, "status": status},),
        table="NAMESPACE  NAME\na          web\n",
    )
    assert render_overview(overview).splitlines() == [
        "cluster     ready (openshift-ai-3.5)",
        "etcd        running",
        "KUBECONFIG  /k",
        "mlflow      127.0.0.1:8443",
        "",
        "NAMESPACE  NAME",
        "a          web",
        "a/web: ConfigMap 'x' does not exist",
    ]
