"""The migration of MLflow's database, before its server runs: pure, the Job and whether one is needed."""

from typing import Any

from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.mlflow_server import NAME, STORAGE_VOLUME, Object, build_pod, owned
from kagenti_devcluster.standins.resources import JOBS, Job, MLflowInstance

CONDITION = "Migration"
_CONTAINER = "db-migrate"
_LABEL = "mlflow.opendatahub.io/migration-job"
_BACKOFF_LIMIT = 3
_TTL_SECONDS = 24 * 60 * 60
# Tables that are not there yet are made, others are brought up to date.
_SCRIPT = """\
import os
from mlflow.store.db import utils

engine = utils.create_sqlalchemy_engine_with_retry(os.environ["MLFLOW_BACKEND_STORE_URI"])
migrate = utils._upgrade_db if utils._get_schema_version(engine) else utils._initialize_tables
migrate(engine)
print("backend store migrated to revision", utils._get_schema_version(engine))
"""


def job_name(cr: MLflowInstance, profile: Profile) -> str:
    """The Job for what the CR wants now."""
    return f"{NAME}-mg-{profile.mlflow.replace('.', '')}-g{cr.metadata.generation}"


def find_condition(cr: MLflowInstance, kind: str) -> dict[str, Any] | None:
    """A condition that the CR's status has."""
    return next((c for c in cr.status.get("conditions", []) if c["type"] == kind), None)


def is_needed(cr: MLflowInstance, profile: Profile, job: Job | None) -> bool:
    """Whether the database is not known to be that of the platform's release."""
    if job and job.status.succeeded:
        return False
    condition = find_condition(cr, CONDITION)
    if condition is None or condition["status"] != "True":
        return True
    if profile.reports_version and cr.status.get("version") != profile.mlflow:
        return True
    always = cr.spec.get("migration", {}).get("mode") == "Always"
    return always and condition["observedGeneration"] != cr.metadata.generation


def build_job(cr: MLflowInstance, profile: Profile) -> Object:
    """The server's pod with another program, and nothing of it that serves."""
    pod = build_pod(cr, profile)
    (server,) = pod["containers"]
    container = {
        "name": _CONTAINER,
        "image": server["image"],
        "imagePullPolicy": server["imagePullPolicy"],
        "command": ["/bin/sh", "-ec"],
        "args": ['exec python3 -c "$MIGRATION_PYTHON_SCRIPT"'],
        "env": [*server["env"], {"name": "MIGRATION_PYTHON_SCRIPT", "value": _SCRIPT}],
        "resources": server["resources"],
        "securityContext": server["securityContext"],
        "volumeMounts": [m for m in server["volumeMounts"] if m["name"] == STORAGE_VOLUME],
    }
    volumes = [v for v in pod["volumes"] if v["name"] == STORAGE_VOLUME]
    spec = {**pod, "restartPolicy": "Never", "containers": [container], "volumes": volumes}
    labels = {"component": "mlflow-migration", _LABEL: "true"}
    job: Object = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": job_name(cr, profile)},
        "spec": {
            "backoffLimit": _BACKOFF_LIMIT,
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    return owned(cr, profile, job)
