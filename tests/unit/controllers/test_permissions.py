"""Which permissions to read the operator cannot start without."""

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.permissions import permit_reads
from kagenti_operator.controllers.settings import Settings
from tests.unit.controllers.dependencies import open_dependencies


async def test_who_may_not_list_a_custom_resource_starts_without_it() -> None:
    async with open_dependencies(Settings()) as dependencies:
        AgentFacts(dependencies)
        MLflowFacts(dependencies.informers)
        needed = {str(permission) for permission in permit_reads(dependencies.informers.all())}
    assert needed == {
        f"{verb} {kind}"
        for verb in ("list", "watch")
        for kind in (
            "deployments.apps cluster-wide",
            "statefulsets.apps cluster-wide",
            "roles.rbac.authorization.k8s.io cluster-wide",
            "rolebindings.rbac.authorization.k8s.io cluster-wide",
            "endpointslices.discovery.k8s.io in namespace redhat-ods-applications",
        )
    }
