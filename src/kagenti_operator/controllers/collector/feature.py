"""The collector as three features: its access to MLflow, its experiment there, and its configuration."""

from kagenti_operator import contract
from kagenti_operator.controllers.collector import access, config, experiment, ingress_ca
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.metrics import AccessMetrics, CollectorMetrics, ExperimentMetrics
from kagenti_operator.controllers.collector.sources import Access, MLflowSources
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.metrics import Leading
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.permissions import permit
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, ROLE_BINDINGS
from kagenti_operator.runtime.observable import Observable


def build_access_feature(
    dependencies: Dependencies,
    mlflow: MLflowFacts,
    granted: Access,
    own: CollectorExperiments,
    gone: Observable[bool],
    configuration: CollectorFacts | None,
    leading: Leading,
) -> Feature:
    """Build the RoleBindings. `configuration`: None where others configure the collector."""
    bindings, agents = granted.bindings, granted.agents
    return Feature(
        name="collector-access",
        informers=(*mlflow.informers, *bindings.informers, *agents.informers),
        controllers=(access.setup(dependencies, mlflow, bindings, agents, own, gone, configuration),),
        permissions=permit(ROLE_BINDINGS, "create", "patch"),
        metrics=(AccessMetrics(bindings, agents, leading, dependencies.metrics.registry),),
    )


def build_experiment_feature(dependencies: Dependencies, sources: MLflowSources, leading: Leading) -> Feature:
    """Build the experiment that spans go to."""
    return Feature(
        name="collector-experiment",
        informers=sources.mlflow.informers,
        controllers=(experiment.setup(dependencies, sources.mlflow, sources.own),),
        metrics=(
            ExperimentMetrics(
                sources.resolved, dependencies.settings, leading, dependencies.suspended.experiment
            ),
        ),
    )


def build_configuration_feature(
    dependencies: Dependencies, facts: CollectorFacts, sources: MLflowSources, leading: Leading
) -> Feature:
    """Build the ConfigMaps and the rollout."""
    settings = dependencies.settings
    configuration, in_place_since = config.setup(dependencies, facts, sources)
    own = settings.namespace
    return Feature(
        name="collector-configuration",
        informers=facts.informers,
        controllers=(ingress_ca.setup(dependencies, facts), configuration),
        permissions=(
            *permit(CONFIG_MAPS, "create", "patch", namespace=own, name=contract.COLLECTOR_CONFIG),
            *permit(DEPLOYMENTS, "patch", namespace=own, name=contract.COLLECTOR),
        ),
        metrics=(
            CollectorMetrics(
                facts, sources, in_place_since, settings, leading, dependencies.suspended.configuration
            ),
        ),
    )
