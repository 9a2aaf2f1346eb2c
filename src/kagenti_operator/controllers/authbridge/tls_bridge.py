"""The CA with which the TLS bridge reads an agent's calls: cert-manager makes one for each workload."""

from collections.abc import Mapping

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.manifests import Manifest, build_manifest
from kagenti_operator.kube.objects.certificates import Certificate
from kagenti_operator.kube.resources import CERTIFICATES, ISSUERS
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.applier import Applier
from kagenti_operator.runtime.telemetry.reporter import Report

DURATION = "2160h0m0s"
RENEW_BEFORE = "360h0m0s"


def build_issuer(names: Names, namespace: str) -> Manifest:
    """Build the Issuer of a namespace, whose certificates sign themselves."""
    return build_manifest(
        ISSUERS,
        contract.TLS_BRIDGE_ISSUER,
        namespace,
        labels=names.managed_labels,
        spec={"selfSigned": {}},
    )


def build_certificate(names: Names, namespace: str, secret: str, owner: Mapping[str, str]) -> Manifest:
    """Build the Certificate of the CA of section 6.7, owned by the workload; it has its Secret's name."""
    return build_manifest(
        CERTIFICATES,
        secret,
        namespace,
        labels=names.managed_labels,
        owners=[owner],
        spec={
            "secretName": secret,
            "commonName": secret[:64],
            "isCA": True,
            "duration": DURATION,
            "renewBefore": RENEW_BEFORE,
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"name": contract.TLS_BRIDGE_ISSUER, "kind": "Issuer", "group": "cert-manager.io"},
        },
    )


class TLSBridge:
    """Keeps Issuers and Certificates where cert-manager is."""

    def __init__(self, dependencies: Dependencies) -> None:
        names, informers = dependencies.settings.names, dependencies.informers
        ours = f"{contract.MANAGED_BY_LABEL}={names.manager}"
        self.certificates = informers.get(Selection(resource=CERTIFICATES, label_selector=ours))
        self.issuers = informers.get(Selection(resource=ISSUERS, label_selector=ours))
        self._names = names
        self._client = dependencies.client
        self._applier = Applier(dependencies.client)

    async def ensure(
        self, namespace: str, secret: str, owner: Mapping[str, str]
    ) -> tuple[bool, tuple[Report, ...]]:
        """Ask for the CA; return whether its Secret is there, and what to report. Raises KubeError.

        A pod waits for the Secret for ever. So running ones are not replaced before it is there.
        """
        if not (self.certificates.synced and self.issuers.synced):
            return False, ()
        if not (self.certificates.cache.served.value and self.issuers.cache.served.value):
            return False, (_report_no_cert_manager(namespace, secret),)
        current = self.certificates.cache.get(namespace, secret)
        if current is None and (theirs := await self._client.get(CERTIFICATES, secret, namespace)):
            # Somebody has their own.
            return theirs.is_issued, ()
        issuer = self.issuers.cache.get(namespace, contract.TLS_BRIDGE_ISSUER)
        await self._applier.ensure(ISSUERS, build_issuer(self._names, namespace), issuer)
        wanted = build_certificate(self._names, namespace, secret, owner)
        await self._applier.ensure(CERTIFICATES, wanted, current)
        return current is not None and current.is_issued, _report_not_issued(current)


def _report_no_cert_manager(namespace: str, secret: str) -> Report:
    return Report(
        reason="TLSBridgeWithoutCertificate",
        message="The TLS bridge needs a CA, which cert-manager would make, and cert-manager is not "
        f"installed: new pods wait for Secret {secret}. Install cert-manager, or make the Secret in "
        f"namespace {namespace} with tls.crt, tls.key and ca.crt and restart the workload, or set "
        f"tls_bridge.mode: disabled in ConfigMap {contract.AUTHBRIDGE_RUNTIME_CONFIG}.",
    )


def _report_not_issued(current: Certificate | None) -> tuple[Report, ...]:
    if current is None or current.is_issued:
        return ()
    text = (
        f"The TLS bridge's CA is not issued yet, and new pods wait for it: see the status of Certificate "
        f"{current.metadata.name}."
    )
    return (Report(reason="TLSBridgeWithoutCertificate", message=text),)
