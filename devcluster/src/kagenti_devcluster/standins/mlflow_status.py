"""What an MLflow CR's status says: pure, from the objects that run its server."""

from datetime import datetime

from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins import mlflow_migration as migration
from kagenti_devcluster.standins.mlflow_server import Object
from kagenti_devcluster.standins.resources import Job, MLflowInstance, Server

type _Said = tuple[str, str, str]


def build_status(
    cr: MLflowInstance,
    profile: Profile,
    server: Server | None,
    job: Job | None,
    *,
    now: datetime,
    gateway_url: str | None = None,
) -> Object:
    """The CR's status; `gateway_url` is where people reach MLflow from outside, if there is such a place.

    The address is there before anything runs.
    """
    needed = migration.is_needed(cr, profile, job)
    said = _say_migrating(cr, profile, server, job) if needed else _say_serving(server)
    version = cr.status.get("version") if needed else profile.mlflow
    return {
        "address": {"url": profile.mlflow_address},
        "url": gateway_url,
        "version": version if profile.reports_version else None,
        "conditions": [_condition(cr, kind, condition, now) for kind, condition in said.items()],
    }


def _say_migrating(
    cr: MLflowInstance, profile: Profile, server: Server | None, job: Job | None
) -> dict[str, _Said]:
    if job and job.failure is not None:
        failed = ("False", "MigrationFailed", job.failure)
        return {"Available": failed, "Progressing": failed, migration.CONDITION: failed}
    if server and server.status.ready_replicas:
        message = f"Waiting for {server.status.ready_replicas} MLflow pods to end before the migration"
        reason = "MigrationScalingDown"
    else:
        message = f"Waiting for migration Job {migration.job_name(cr, profile)} to finish"
        reason = "MigrationRunning"
    return {
        "Available": ("False", reason, message),
        "Progressing": ("True", reason, message),
        migration.CONDITION: ("False", reason, message),
    }


def _say_serving(server: Server | None) -> dict[str, _Said]:
    wanted = server.spec.replicas if server else 1
    observed = server is not None and server.status.observed_generation >= server.metadata.generation
    ready = server.status.ready_replicas if server and observed else 0
    if ready >= wanted > 0:
        available = ("True", "DeploymentReady", "MLflow deployment is ready and available")
        progressing = ("False", "ReconcileComplete", "MLflow reconciliation completed successfully")
    else:
        missing = f"MLflow deployment not ready: {ready}/{wanted} replicas ready"
        available = ("False", "DeploymentNotReady", missing if wanted else "MLflow deployment scaled to zero")
        progressing = ("True", "Reconciling", available[2])
    migrated = ("True", "MigrationSucceeded", "The database is that of this release")
    return {"Available": available, "Progressing": progressing, migration.CONDITION: migrated}


def _condition(cr: MLflowInstance, kind: str, said: _Said, now: datetime) -> Object:
    status, reason, message = said
    before = migration.find_condition(cr, kind)
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
