"""What the MLflow operator makes of an MLflow CR: pure, the objects of the server and the CR's status.

After the chart and the status of opendatahub-io/mlflow-operator, in the words of this project.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from kagenti_devcluster.standins.resources import MLflowInstance, Server

NAMESPACE = "redhat-ods-applications"
NAME = "mlflow"
TLS_SECRET = "mlflow-tls"
STORAGE_CLAIM = "mlflow-pvc"
SERVICE_ACCOUNT = "mlflow-sa"
PORT = 8443
ADDRESS = f"https://{NAME}.{NAMESPACE}.svc:{PORT}"
IMAGE = "opendatahub/mlflow:3.17"
_LABELS = {"app": NAME, "app.kubernetes.io/managed-by": "mlflow-operator"}
# Names by which MLflow's protection against DNS rebinding lets itself be called.
_HOSTS = (NAME, f"{NAME}.{NAMESPACE}", f"{NAME}.{NAMESPACE}.svc", f"{NAME}.{NAMESPACE}.svc.cluster.local")
_LOCAL_HOSTS = ("localhost", "127.0.0.1")

type Object = dict[str, Any]


def build_objects(cr: MLflowInstance) -> list[Object]:
    """Everything that runs the server, in the order to apply it; all of it goes when the CR goes."""
    objects = [_service_account(cr), _service(), _deployment(cr)]
    if "storage" in cr.spec:
        objects.insert(0, _claim(cr.spec["storage"]))
    for made in objects:
        made["metadata"] |= {"namespace": NAMESPACE, "labels": _LABELS, "ownerReferences": [_owner(cr)]}
    return objects


def build_status(
    cr: MLflowInstance, server: Server | None, *, now: datetime, gateway_url: str | None = None
) -> Object:
    """The CR's status; `gateway_url` is where people reach MLflow from outside, if there is such a place."""
    wanted = server.spec.replicas if server else 1
    ready = server.status.ready_replicas if server and _is_observed(server) else 0
    if ready >= wanted > 0:
        available = ("True", "DeploymentReady", "MLflow deployment is ready and available")
        progressing = ("False", "ReconcileComplete", "MLflow reconciliation completed successfully")
    else:
        missing = f"MLflow deployment not ready: {ready}/{wanted} replicas ready"
        available = ("False", "DeploymentNotReady", missing if wanted else "MLflow deployment scaled to zero")
        progressing = ("True", "Reconciling", available[2])
    conditions = [
        _condition(cr, "Available", available, now),
        _condition(cr, "Progressing", progressing, now),
    ]
    return {"address": {"url": ADDRESS}, "url": gateway_url, "conditions": conditions}


def _is_observed(server: Server) -> bool:
    return server.status.observed_generation >= server.metadata.generation


def _condition(cr: MLflowInstance, kind: str, said: tuple[str, str, str], now: datetime) -> Object:
    status, reason, message = said
    before = next((c for c in cr.status.get("conditions", []) if c["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == status else _timestamp(now)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
        "observedGeneration": cr.metadata.generation,
    }


def _timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _owner(cr: MLflowInstance) -> Object:
    return {
        "apiVersion": "mlflow.opendatahub.io/v1",
        "kind": "MLflow",
        "name": cr.metadata.name,
        "uid": cr.metadata.uid,
        "controller": True,
    }


def _claim(storage: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": STORAGE_CLAIM},
        "spec": dict(storage),
    }


def _service_account(cr: MLflowInstance) -> Object:
    name = cr.spec.get("serviceAccountName", SERVICE_ACCOUNT)
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def _service() -> Object:
    annotations = {"service.beta.openshift.io/serving-cert-secret-name": TLS_SECRET}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "annotations": annotations},
        "spec": {
            "selector": {"app": NAME},
            "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": "https"}],
        },
    }


def _deployment(cr: MLflowInstance) -> Object:
    # A claim that one pod writes cannot be handed over while the old pod lives.
    strategy: Literal["Recreate", "RollingUpdate"] = "Recreate" if "storage" in cr.spec else "RollingUpdate"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": cr.spec.get("replicas", 1),
            "strategy": {"type": strategy},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": _pod(cr)},
        },
    }


def _pod(cr: MLflowInstance) -> Object:
    image = cr.spec.get("image", {})
    health = {"path": "/health", "port": "https", "scheme": "HTTPS"}
    container: Object = {
        "name": NAME,
        "image": image.get("image", IMAGE),
        "imagePullPolicy": image.get("imagePullPolicy", "IfNotPresent"),
        "command": ["mlflow"],
        "args": _arguments(cr.spec),
        "env": _environment(cr.spec),
        "ports": [{"name": "https", "containerPort": PORT}],
        "readinessProbe": {"httpGet": health, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": cr.spec.get("resources", {"requests": {"cpu": "250m", "memory": "768Mi"}}),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "storage", "mountPath": "/mlflow"},
            {"name": "tls", "mountPath": "/etc/tls/private", "readOnly": True},
        ],
    }
    claim = {"persistentVolumeClaim": {"claimName": STORAGE_CLAIM}}
    return {
        "serviceAccountName": cr.spec.get("serviceAccountName", SERVICE_ACCOUNT),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "storage", **(claim if "storage" in cr.spec else {"emptyDir": {}})},
            {"name": "tls", "secret": {"secretName": TLS_SECRET}},
        ],
    }


def _arguments(spec: Mapping[str, Any]) -> list[str]:
    arguments = ["server"]
    if spec.get("serveArtifacts"):
        destination = spec.get("artifactsDestination", "file:///mlflow/artifacts")
        arguments += ["--serve-artifacts", f"--artifacts-destination={destination}"]
    else:
        arguments.append("--no-serve-artifacts")
    if "defaultArtifactRoot" in spec:
        arguments.append(f"--default-artifact-root={spec['defaultArtifactRoot']}")
    hosts = [f"{host}:{PORT}" for host in _HOSTS] + [f"{host}:*" for host in _LOCAL_HOSTS]
    return [
        *arguments,
        "--app-name=kubernetes-auth",
        "--enable-workspaces",
        "--workspace-store-uri=kubernetes://",
        "--host=0.0.0.0",
        f"--port={PORT}",
        f"--workers={spec.get('workers', 1)}",
        f"--allowed-hosts={','.join(hosts)}",
        "--uvicorn-opts=--ssl-keyfile=/etc/tls/private/tls.key --ssl-certfile=/etc/tls/private/tls.crt",
    ]


def _environment(spec: Mapping[str, Any]) -> list[Object]:
    environment: dict[str, Object] = {
        "MLFLOW_K8S_AUTH_AUTHORIZATION_MODE": {"value": "self_subject_access_review"},
        # Its job runners are eight processes more and 1.3 GiB; nothing here submits jobs.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": {"value": "false"},
    }
    if "backendStoreUri" in spec:
        environment["MLFLOW_BACKEND_STORE_URI"] = {"value": spec["backendStoreUri"]}
    if "backendStoreUriFrom" in spec:
        reference = {"secretKeyRef": spec["backendStoreUriFrom"]}
        environment["MLFLOW_BACKEND_STORE_URI"] = {"valueFrom": reference}
    if "registryStoreUri" in spec:
        environment["MLFLOW_REGISTRY_STORE_URI"] = {"value": spec["registryStoreUri"]}
    for variable in spec.get("env", []):
        environment[variable["name"]] = {k: v for k, v in variable.items() if k != "name"}
    return [{"name": name, **value} for name, value in environment.items()]
