"""The operator is installed by its chart, and says and writes what the contract promises."""

import json
from collections.abc import Mapping
from itertools import batched
from typing import Any

import yaml

from kagenti_devcluster.demo.commands import checkout_path, run_helm
from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.report import Outcome
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import is_rolled_out, workload_path
from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.own_certificate import CONFIG_MAP, CONFIG_MAP_KEY
from kagenti_operator.contract import SERVICE_CA_FILE

# Message and keys of section 4 of the contract.
MESSAGES: Mapping[str, tuple[str, ...]] = {
    "MLflow CRD detected, discovering MLflow CR": (),
    "Found available MLflow CR": ("name", "tracesURL"),
    "Created/found MLflow experiment": ("name", "workspace", "experimentID"),
    "OTel collector bootstrap complete": (),
}
# A stand-in: examples/authbridge-sidecar.
SIDECAR_IMAGE = "kagenti/authbridge:1"
_MESSAGES_SECONDS = 300.0
_READY_SECONDS = 90.0


def choose_values(profile: Profile, keycloak: str = "") -> dict[str, str]:
    """The chart's values for a platform; `keycloak` is its public address where AuthBridge is to be on."""
    values = {
        "platform.name": profile.names.prefix,
        "mlflow.enable": "true",
        "mlflow.workspace": TEAM,
        "otelBootstrap.enable": "true",
    }
    if not profile.openshift:
        container = "controllerManager.container.extraVolumeMounts[0]"
        values |= {
            "mlflow.caFile": f"/etc/mlflow-ca/{CONFIG_MAP_KEY}",
            "controllerManager.extraVolumes[0].name": CONFIG_MAP,
            "controllerManager.extraVolumes[0].configMap.name": CONFIG_MAP,
            f"{container}.name": CONFIG_MAP,
            f"{container}.mountPath": "/etc/mlflow-ca",
        }
    if keycloak:
        values |= {
            "authbridge.enable": "true",
            "authbridge.clientRegistration.enable": "true",
            "keycloak.publicURL": keycloak,
            "defaults.images.authbridge": SIDECAR_IMAGE,
            # Nothing here may change a pod's firewall rules.
            "defaults.proxy.allowedEgressEnforcement": "{none}",
        }
    return values


async def install(stage: Stage, *, keycloak: str = "") -> Outcome:
    """`helm upgrade --install`, then wait for the operator's pod."""
    values = choose_values(stage.profile, keycloak)
    settings = [f"--set={name}={value}" for name, value in values.items()]
    command = [
        "upgrade",
        "--install",
        "kagenti-operator",
        str(checkout_path("charts/kagenti-operator")),
        "--namespace",
        stage.system,
        *settings,
    ]
    said = await run_helm(stage.paths, command)

    async def ready() -> None:
        deployment = await stage.api.get(workload_path("deployments", stage.system, stage.operator))
        if deployment is None or not is_rolled_out(deployment):
            raise NotYet("its pod is not ready")

    await stage.until(
        "operator ready",
        ready,
        seconds=_READY_SECONDS,
        hop=Hop.OPERATOR,
        evidence=(stage.system, stage.operator),
    )
    revision = next((line for line in said.splitlines() if line.startswith("REVISION")), "")
    return Outcome(f"the operator runs ({revision.lower()})", _show_helm(stage.system, values))


def _show_helm(namespace: str, values: Mapping[str, str]) -> tuple[str, ...]:
    settings = [f"--set {name}={value}" for name, value in values.items()]
    lines = [f"    {' '.join(pair)}" for pair in batched(settings, 2, strict=False)]
    command = f"$ helm upgrade --install kagenti-operator charts/kagenti-operator --namespace {namespace}"
    return (*(f"{line} \\" for line in (command, *lines[:-1])), lines[-1])


def parse_log(lines: list[str]) -> list[dict[str, Any]]:
    """The operator's log entries; lines that are no JSON objects are other programs' and do not count."""
    entries: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("{"):
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
    return entries


def find_messages(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last entry of each message of the contract that has its keys."""
    return {
        entry["msg"]: entry
        for entry in entries
        if entry.get("msg") in MESSAGES and all(entry.get(key) for key in MESSAGES[entry["msg"]])
    }


async def read_messages(stage: Stage) -> Outcome:
    """The four messages appear in the log of the operator's pod, with their keys."""

    async def found() -> dict[str, dict[str, Any]]:
        messages = find_messages(parse_log(stage.logs.read_latest(stage.system, stage.operator)))
        # The configuration is in place when it carries the experiment; earlier ones carry less.
        complete = messages.get("OTel collector bootstrap complete")
        if complete and not complete.get("experimentID"):
            del messages["OTel collector bootstrap complete"]
        missing = [message for message in MESSAGES if message not in messages]
        if missing:
            raise NotYet(f"not yet logged: {missing[0]}")
        return messages

    messages = await stage.until(
        "the operator's four messages",
        found,
        seconds=_MESSAGES_SECONDS,
        hop=Hop.OPERATOR,
        evidence=(stage.system, stage.operator),
    )
    stage.experiment_id = messages["Created/found MLflow experiment"]["experimentID"]
    return Outcome("all four messages, with their keys", tuple(_show(messages[m]) for m in MESSAGES))


def _show(entry: Mapping[str, Any]) -> str:
    keys = " ".join(f"{key}={entry[key]}" for key in MESSAGES[entry["msg"]])
    return f"{entry['msg']}  {keys}".rstrip()


async def read_configuration(stage: Stage) -> Outcome:
    """ConfigMap `otel-collector-config` has what MLflow needs, and the collector runs on it."""
    text = await _wait_for_configuration(stage)
    config: dict[str, Any] = yaml.safe_load(text)
    exporters: dict[str, dict[str, Any]] = config["exporters"]
    exporter = next((e for name, e in exporters.items() if name.endswith("/mlflow")), dict[str, Any]())
    seen: dict[str, Any] = {
        "traces_endpoint": exporter.get("traces_endpoint"),
        "x-mlflow-workspace": exporter.get("headers", {}).get("x-mlflow-workspace"),
        "x-mlflow-experiment-id": exporter.get("headers", {}).get("x-mlflow-experiment-id"),
        "ca_file": exporter.get("tls", {}).get("ca_file"),
        "authenticator": exporter.get("auth", {}).get("authenticator"),
    }
    problems = _differences(seen, config, stage)
    if problems:
        raise StepFailed(Hop.CONFIGURATION, "; ".join(problems), excerpt=text.splitlines())
    return Outcome("the collector runs on it", tuple(f"{key}: {value}" for key, value in seen.items()))


def _template_hash(collector: Mapping[str, Any], annotation: str) -> str | None:
    return collector["spec"]["template"]["metadata"].get("annotations", {}).get(annotation)


def _differences(seen: Mapping[str, Any], config: Mapping[str, Any], stage: Stage) -> list[str]:
    wanted = {
        "x-mlflow-workspace": TEAM,
        "x-mlflow-experiment-id": stage.experiment_id,
        "ca_file": SERVICE_CA_FILE if stage.profile.openshift else None,
        "authenticator": "bearertokenauth/mlflow",
    }
    problems = [f"{k} is {seen[k]!r}, not {v!r}" for k, v in wanted.items() if seen[k] != v]
    if "bearertokenauth/mlflow" not in config["service"]["extensions"]:
        problems.append("extension bearertokenauth/mlflow is not switched on")
    return problems


async def _wait_for_configuration(stage: Stage) -> str:
    async def rolled_out() -> str:
        found = await stage.api.get(f"/api/v1/namespaces/{stage.system}/configmaps/otel-collector-config")
        if found is None:
            raise NotYet("the ConfigMap does not exist")
        collector = await stage.api.get(workload_path("deployments", stage.system, COLLECTOR))
        annotation = stage.names.config_hash_annotation
        wanted = found["metadata"].get("annotations", {}).get(annotation)
        if collector is None or _template_hash(collector, annotation) != wanted:
            raise NotYet("the collector's pod template carries another hash")
        if not is_rolled_out(collector):
            raise NotYet("the collector is rolling")
        return found["data"]["base.yaml"]

    return await stage.until(
        "the collector on its configuration",
        rolled_out,
        seconds=_READY_SECONDS,
        hop=Hop.CONFIGURATION,
        evidence=(stage.system, COLLECTOR),
    )
