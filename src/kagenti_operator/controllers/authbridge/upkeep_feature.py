"""What AuthBridge needs around admission, as a feature: kept by the replica that leads."""

from kagenti_operator.controllers.authbridge import namespace_config, openshift_scc, workload_config
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.openshift_scc import SecurityConstraints
from kagenti_operator.controllers.authbridge.tls_bridge import TLSBridge
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.permissions import permit
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, AGENT_STATEFUL_SETS, CONFIG_MAPS


def build_feature(dependencies: Dependencies, facts: AuthBridgeFacts) -> Feature:
    """Build it. Constraints are granted where `--authbridge-scc` names some."""
    workloads, bridge = WorkloadFacts(dependencies), TLSBridge(dependencies)
    scc = dependencies.settings.authbridge_scc
    constraints = SecurityConstraints(dependencies, scc) if scc else None
    of_constraints = (constraints.roles, constraints.bindings) if constraints else ()
    granting = (
        (openshift_scc.setup(dependencies, facts.namespaces, constraints, facts.is_openshift),)
        if constraints
        else ()
    )
    return Feature(
        name="authbridge-upkeep",
        informers=(
            *facts.informers,
            *workloads.informers,
            bridge.certificates,
            bridge.issuers,
            *of_constraints,
        ),
        controllers=(
            namespace_config.setup(dependencies, facts.namespaces),
            workload_config.setup(dependencies, facts, workloads, bridge),
            *granting,
        ),
        permissions=(
            *permit(CONFIG_MAPS, "create", "patch"),
            *permit(AGENT_DEPLOYMENTS, "get", "patch"),
            *permit(AGENT_STATEFUL_SETS, "get", "patch"),
        ),
    )
