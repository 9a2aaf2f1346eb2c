"""OpenShift's ingress CA, copied to where the collector mounts it."""

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.collector.facts import CollectorFacts, read_key
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.manifests import Manifest, build_config_map, build_owner
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller


def setup(dependencies: Dependencies, collector: CollectorFacts) -> Controller[str]:
    """Watch the sources, the copy, and the operator's Deployment, with which the copy goes."""
    return build_singleton(
        dependencies,
        "ingress-ca",
        IngressCAReconciler(dependencies, collector).reconcile,
        collector.ingress_source,
        collector.root_source,
        collector.ingress_ca,
        collector.deployments,
        follows=(collector.openshift,),
    ).suspend_while(dependencies.suspended.configuration)


def build_bundle(ingress: str | None, root: str | None) -> str | None:
    """Ingress CA, then root CA, as PEM text that ends in a newline; None without an ingress CA."""
    if not ingress or not ingress.strip():
        return None
    return "".join(f"{part.strip()}\n" for part in (ingress, root) if part and part.strip())


def build_ingress_ca(names: Names, namespace: str, bundle: str, owner: Workload | None) -> Manifest:
    """Build ConfigMap `otel-ingress-ca` of section 2.5 of the contract."""
    return build_config_map(
        contract.INGRESS_CA,
        namespace,
        {contract.CA_BUNDLE_KEY: bundle},
        labels=names.managed_labels,
        owners=[build_owner(DEPLOYMENTS, owner)] if owner else [],
    )


def wanted_bundle(collector: CollectorFacts) -> str | None:
    """What `otel-ingress-ca` should hold now; None where there is nothing to copy."""
    if not collector.openshift.value:
        return None
    return build_bundle(
        read_key(collector.ingress_source, contract.CA_BUNDLE_KEY),
        read_key(collector.root_source, contract.ROOT_CA_KEY),
    )


def is_settled(collector: CollectorFacts) -> bool:
    """Whether the copy is as wanted. One roll for a changed CA, not another one for the configuration."""
    wanted = wanted_bundle(collector)
    return wanted is None or read_key(collector.ingress_ca, contract.CA_BUNDLE_KEY) == wanted


class IngressCAReconciler:
    """Keeps the copy. A source that vanishes leaves the last bundle: the collector may still need it."""

    def __init__(self, dependencies: Dependencies, collector: CollectorFacts) -> None:
        self._settings = dependencies.settings
        self._events = dependencies.events
        self._applier = Applier(dependencies.client)
        self._collector = collector

    async def reconcile(self) -> float | None:
        """Copy the certificates where they differ."""
        bundle = wanted_bundle(self._collector)
        if bundle is None:
            return None
        settings, owner = self._settings, self._collector.operator
        desired = build_ingress_ca(settings.names, settings.namespace, bundle, owner)
        consequence = "The collector's configuration waits for the ingress CA, which could not be written"
        subject = self._collector.subject
        with failures_recorded(self._events, subject, "IngressCANotWritten", consequence):
            wrote = await self._applier.ensure(CONFIG_MAPS, desired, self._collector.ingress_ca.cache.only())
        return CONFIRM_SECONDS if wrote else None
