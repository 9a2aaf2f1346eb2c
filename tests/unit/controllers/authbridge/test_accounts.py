"""When a grant to an agent names the ServiceAccount of its workload's name as well."""

from kagenti_operator.controllers.authbridge.accounts import build_further_accounts
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies, put

NAMESPACE = KubeObject(metadata=ObjectMeta(name="team1"))
DRIVER = KubeObject(metadata=ObjectMeta(name="csi.spiffe.io"))
ACCOUNT = KubeObject(metadata=ObjectMeta(name="weather", namespace="team1"))


async def test_it_is_named_before_it_is_given_and_as_long_as_it_is_there() -> None:
    async with open_dependencies(Settings()) as dependencies:
        facts = AuthBridgeFacts(dependencies, Observable[bool | None](False))
        further = build_further_accounts(dependencies, facts)
        put(further.of_namespace, NAMESPACE)
        assert not further.is_given("team1", "weather"), "without SPIRE no pod is given one"
        put(further.of_cluster, DRIVER)
        assert further.is_given("team1", "weather")
        assert not further.is_given("team2", "weather"), "no pod is given one where the label is not"
        put(further.within_namespace, ACCOUNT)
        further.of_cluster.cache.replace({})
        further.of_namespace.cache.replace({})
        assert further.is_given("team1", "weather"), "pods that run keep it"
        assert not further.is_given("team1", "other")
