"""What the MLflow operator makes of an MLflow CR: pure, the objects that run the server.

After the chart of opendatahub-io/mlflow-operator, in the words of this project.
"""

from collections.abc import Mapping
from typing import Any, Literal

from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.resources import CLUSTER_ROLE_BINDINGS, RBAC, MLflowInstance

NAME = "mlflow"
TLS_SECRET = "mlflow-tls"
STORAGE_CLAIM = "mlflow-pvc"
STORAGE_VOLUME = "mlflow-storage"
SERVICE_ACCOUNT = "mlflow-sa"
WORKSPACES_ROLE = "mlflow-sa-workspaces"
PORT = 8443
STATIC_PREFIX = "/mlflow"
_IMAGE = "opendatahub/mlflow"
_TLS_FOLDER = "/etc/tls/private"
_LABELS = {"app": NAME, "app.kubernetes.io/managed-by": "mlflow-operator"}
_LOCAL_HOSTS = ("localhost", "127.0.0.1")

type Object = dict[str, Any]


def image_of(profile: Profile) -> str:
    """The image of the release that a platform ships."""
    return f"{_IMAGE}:{profile.mlflow_release}"


def build_objects(cr: MLflowInstance, profile: Profile) -> list[Object]:
    """Everything that is there before the server runs, in the order to apply it."""
    account = cr.spec.get("serviceAccountName", SERVICE_ACCOUNT)
    objects = [_service_account(account), _service(profile)]
    if "storage" in cr.spec:
        objects.insert(0, _claim(cr.spec["storage"]))
    made = [owned(cr, profile, found) for found in objects]
    return [*made, _workspaces_binding(cr, account, profile)]


def build_deployment(cr: MLflowInstance, profile: Profile, *, replicas: int | None = None) -> Object:
    """The server; `replicas` other than the CR's while its database is migrated."""
    # A claim that one pod writes cannot be handed over while the old pod lives.
    strategy: Literal["Recreate", "RollingUpdate"] = "Recreate" if "storage" in cr.spec else "RollingUpdate"
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": cr.spec.get("replicas", 1) if replicas is None else replicas,
            "strategy": {"type": strategy},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": build_pod(cr, profile)},
        },
    }
    return owned(cr, profile, deployment)


def owned(cr: MLflowInstance, profile: Profile, made: Object) -> Object:
    """An object of the applications' namespace that goes when the CR goes."""
    metadata = {"namespace": profile.applications, "labels": _LABELS, "ownerReferences": [_owner(cr)]}
    return {**made, "metadata": {**made["metadata"], **metadata}}


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


def _service_account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def _workspaces_binding(cr: MLflowInstance, account: str, profile: Profile) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE_BINDINGS.api_version,
        "kind": CLUSTER_ROLE_BINDINGS.kind,
        "metadata": {"name": WORKSPACES_ROLE, "labels": _LABELS, "ownerReferences": [_owner(cr)]},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": WORKSPACES_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": profile.applications}],
    }


def _service(profile: Profile) -> Object:
    # Elsewhere than on OpenShift whoever installs the operator brings the Secret.
    annotations = {"service.beta.openshift.io/serving-cert-secret-name": TLS_SECRET}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, **({"annotations": annotations} if profile.openshift else {})},
        "spec": {
            "selector": {"app": NAME},
            "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": "https"}],
        },
    }


def build_pod(cr: MLflowInstance, profile: Profile) -> Object:
    """The spec of the server's pods."""
    image = cr.spec.get("image", {})
    container: Object = {
        "name": NAME,
        "image": image.get("image", image_of(profile)),
        "imagePullPolicy": image.get("imagePullPolicy", "IfNotPresent"),
        "command": ["mlflow"],
        "args": _arguments(cr.spec),
        "env": _environment(cr.spec, profile),
        "ports": [{"name": "https", "containerPort": PORT}],
        **_probes(profile),
        "resources": cr.spec.get("resources", {"requests": {"cpu": "250m", "memory": "768Mi"}}),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": STORAGE_VOLUME, "mountPath": "/mlflow"},
            {"name": TLS_SECRET, "mountPath": _TLS_FOLDER, "readOnly": True},
        ],
    }
    claim = {"persistentVolumeClaim": {"claimName": STORAGE_CLAIM}}
    return {
        "serviceAccountName": cr.spec.get("serviceAccountName", SERVICE_ACCOUNT),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": STORAGE_VOLUME, **(claim if "storage" in cr.spec else {"emptyDir": {}})},
            {"name": TLS_SECRET, "secret": {"secretName": TLS_SECRET}},
        ],
    }


def _probes(profile: Profile) -> Object:
    def get(path: str) -> Object:
        return {"httpGet": {"path": f"{STATIC_PREFIX}{path}", "port": "https", "scheme": "HTTPS"}}

    # MLflow 3.10 has server-info where REST is, at the root.
    ready = "/api/3.0/mlflow/server-info" if profile.address_path else "/health"
    return {
        # More patient than the real one: the machine may have two cores, which others use too.
        "livenessProbe": get("/health")
        | {"initialDelaySeconds": 30, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 9},
        # More often, so that nobody waits for a probe.
        "readinessProbe": get(ready) | {"periodSeconds": 1, "timeoutSeconds": 5},
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
    tls = f"--ssl-keyfile={_TLS_FOLDER}/tls.key --ssl-certfile={_TLS_FOLDER}/tls.crt"
    return [
        *arguments,
        "--app-name=kubernetes-auth",
        "--enable-workspaces",
        "--workspace-store-uri=kubernetes://",
        "--host=0.0.0.0",
        f"--port={PORT}",
        f"--workers={spec.get('workers', 1)}",
        f"--uvicorn-opts={tls} --proxy-headers",
        # The kubelet's probes name the pod's address.
        "--allowed-hosts=*",
        f"--static-prefix={STATIC_PREFIX}",
    ]


def _environment(spec: Mapping[str, Any], profile: Profile) -> list[Object]:
    host = f"{NAME}.{profile.applications}"
    hosts = (NAME, host, f"{host}.svc", f"{host}.svc.cluster.local", *_LOCAL_HOSTS)
    origins = [*(f"https://{host}:{PORT}" for host in hosts), *spec.get("extraAllowedOrigins", [])]
    environment: dict[str, Object] = {
        # Its job runners are eight processes more and 1.3 GiB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": {"value": "false"},
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": {"value": "false"},
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": {"value": ",".join(origins)},
        "MLFLOW_K8S_AUTH_AUTHORIZATION_MODE": {"value": "self_subject_access_review"},
        **_store("MLFLOW_BACKEND_STORE_URI", spec, "backendStoreUri"),
        **_store("MLFLOW_REGISTRY_STORE_URI", spec, "registryStoreUri"),
    }
    if selector := spec.get("workspaceLabelSelector"):
        environment["MLFLOW_K8S_WORKSPACE_LABEL_SELECTOR"] = {"value": format_selector(selector)}
    for variable in spec.get("env", []):
        environment[variable["name"]] = {k: v for k, v in variable.items() if k != "name"}
    return [{"name": name, **value} for name, value in environment.items()]


def _store(variable: str, spec: Mapping[str, Any], field: str) -> dict[str, Object]:
    if field in spec:
        return {variable: {"value": spec[field]}}
    if f"{field}From" in spec:
        return {variable: {"valueFrom": {"secretKeyRef": spec[f"{field}From"]}}}
    return {}


def format_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as a query has it: `a=b,c in (d,e),!f`."""
    terms = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for expression in selector.get("matchExpressions", []):
        key, values = expression["key"], f"({','.join(expression.get('values', []))})"
        match expression["operator"]:
            case "In":
                terms.append(f"{key} in {values}")
            case "NotIn":
                terms.append(f"{key} notin {values}")
            case "Exists":
                terms.append(key)
            case _:
                terms.append(f"!{key}")
    return ",".join(terms)
