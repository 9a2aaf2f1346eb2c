"""Golden cases: what the cluster says in `*.in.yaml`, the collector's configuration in `*.out.yaml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.kube.quantity import parse_bytes
from kagenti_operator.mlflow import status
from kagenti_operator.mlflow.otlp_path import guess
from kagenti_operator.otelcol import Facts, MLflowDestination, has_modern_exporter_names
from kagenti_operator.otelcol.assemble import assemble
from kagenti_operator.otelcol.extra import merge_extra
from kagenti_operator.otelcol.render import render_configuration

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenCase:
    name: str

    @property
    def input(self) -> Path:
        return GOLDEN / f"{self.name}.in.yaml"

    @property
    def output(self) -> Path:
        return GOLDEN / f"{self.name}.out.yaml"

    def rendered(self) -> str:
        """The configuration, or the words of the error that keeps it from being made."""
        try:
            case = yaml.safe_load(self.input.read_text())
            return render_configuration(
                merge_extra(assemble(facts_of(case)), case.get("extra", {})).configuration
            )
        except ValueError as error:
            return yaml.safe_dump({"error": str(error)})


def facts_of(case: dict[str, Any]) -> Facts:
    return Facts(
        openshift=case["openshift"],
        mlflow=destination_of(case["mlflow"]) if "mlflow" in case else None,
        phoenix=case["phoenix"],
        ingress_ca=case["ingressCA"],
        modern_exporter_names=has_modern_exporter_names(case["collectorImage"]),
        memory_bytes=parse_bytes(case.get("collectorMemory", "")),
        oauth_client=case.get("oauthClient", False),
        mlflow_ca=case.get("mlflowCA"),
        mlflow_allow_http=case.get("mlflowAllowHTTP", False),
    )


def destination_of(mlflow: dict[str, Any]) -> MLflowDestination:
    cr = msgspec.convert({"metadata": {"name": "mlflow"}, "status": mlflow["status"]}, MLflow)
    return MLflowDestination(
        traces_endpoint=guess_endpoint(cr),
        workspace=mlflow.get("workspace"),
        experiment_id=mlflow.get("experimentID"),
    )


def guess_endpoint(cr: MLflow) -> str:
    """What is written where MLflow does not answer: these cases have no server to ask."""
    address, version = status.address(cr), cr.status.version if cr.status else None
    return (guess(address, version) if address else status.gateway_traces_url(cr)) or ""


def golden_cases() -> list[GoldenCase]:
    return [GoldenCase(path.name.removesuffix(".in.yaml")) for path in sorted(GOLDEN.glob("*.in.yaml"))]
