"""Agents as a feature."""

from kagenti_operator.controllers.agents import controller, gateway_trust, other_labels, tracking_endpoint
from kagenti_operator.controllers.agents.addresses import GatewayTrust
from kagenti_operator.controllers.agents.experiments import CollectorsExperiments
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.further_accounts import FurtherAccounts
from kagenti_operator.controllers.agents.metrics import AgentMetrics
from kagenti_operator.controllers.agents.other_labels import OtherLabels
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.permissions import permit
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, AGENT_STATEFUL_SETS, ROLE_BINDINGS, ROLES
from kagenti_operator.runtime.observable import Observable


def build_feature(
    dependencies: Dependencies,
    mlflow: MLflowFacts,
    agents: AgentFacts,
    is_openshift: Observable[bool | None],
    gone: Observable[bool],
    collectors: CollectorsExperiments,
    further: FurtherAccounts | None = None,
) -> Feature:
    """Build it. Sandboxes are written where they are installed; that it may is seen when it does."""
    endpoint, trust = Observable[Endpoint | None](None), Observable[GatewayTrust | None](None)
    tries = dependencies.settings.agents_mlflow_address == "auto"
    others = OtherLabels(dependencies, agents)
    return Feature(
        name="agents",
        informers=(
            mlflow.mlflows,
            *agents.informers,
            agents.roles,
            agents.bindings,
            others.own.informer,
            *(further.informers if further else ()),
        ),
        controllers=(
            *((gateway_trust.setup(dependencies, mlflow, trust),) if tries else ()),
            tracking_endpoint.setup(dependencies, mlflow, is_openshift, trust, endpoint),
            controller.setup(dependencies, agents, endpoint, gone, collectors, further),
            other_labels.setup(dependencies, others, agents),
        ),
        permissions=(
            *permit(ROLES, "create", "patch"),
            *permit(ROLE_BINDINGS, "create", "patch"),
            *permit(AGENT_DEPLOYMENTS, "patch"),
            *permit(AGENT_STATEFUL_SETS, "patch"),
        ),
        metrics=(AgentMetrics(agents),),
        notes={other_labels.NAME: others.note},
    )
