"""MLflow as a feature: the operand, where it takes spans, whether it is gone, its address for people."""

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.mlflow import absence, found, operand, readiness, traces_url, ui_config
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.metrics import MLflowMetrics
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.runtime.observable import Observable


def build_discovery_feature(
    dependencies: Dependencies, mlflow: MLflowFacts, traces: Observable[TracesURL | None]
) -> Feature:
    """Build what finds MLflow and logs it, and reports one that is not ready. It writes nothing."""
    return Feature(
        name="mlflow-discovery",
        informers=mlflow.informers,
        controllers=(
            traces_url.setup(dependencies, mlflow, traces),
            readiness.setup(dependencies, mlflow),
            found.setup(dependencies, mlflow, traces),
        ),
        metrics=(MLflowMetrics(mlflow),),
    )


def build_feature(dependencies: Dependencies, mlflow: MLflowFacts, gone: Observable[bool]) -> Feature:
    """Build it. The CR is made once, if ever, and the ConfigMap may not exist: no write is sure."""
    return Feature(
        name="mlflow",
        informers=(*mlflow.informers, ui_config.config_map(dependencies)),
        controllers=(
            operand.setup(dependencies, mlflow),
            absence.setup(dependencies, mlflow, gone),
            ui_config.setup(dependencies, mlflow),
        ),
    )
