"""Under which ServiceAccount pods with a SPIFFE identity may run: grants to agents name it as well."""

from functools import partial

from kagenti_operator.controllers.agents.further_accounts import FurtherAccounts
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.workload_facts import files_selector
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import SERVICE_ACCOUNTS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection


def build_further_accounts(dependencies: Dependencies, facts: AuthBridgeFacts) -> FurtherAccounts:
    """Build it. A pod is given an account only where there is SPIRE, and keeps it when the label goes.

    The grant comes before the account is used: MLflow remembers a refusal for minutes.
    """
    accounts: Informer[KubeObject] = dependencies.informers.get(
        Selection(resource=SERVICE_ACCOUNTS, label_selector=files_selector(dependencies.settings.names))
    )
    return FurtherAccounts(
        is_given=partial(_is_given, facts, accounts),
        of_cluster=facts.drivers,
        of_namespace=facts.namespaces.namespaces,
        within_namespace=accounts,
    )


def _is_given(facts: AuthBridgeFacts, accounts: Informer[KubeObject], namespace: str, workload: str) -> bool:
    if (namespace, workload) in accounts.cache:
        return True
    return len(facts.drivers.cache) > 0 and facts.namespaces.get(namespace) is not None
