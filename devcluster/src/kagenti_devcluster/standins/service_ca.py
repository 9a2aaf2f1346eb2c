"""Stand-in for OpenShift's service CA operator.

Signs a serving certificate into the Secret that a Service names by annotation, and gives every namespace the
CA in ConfigMap `openshift-service-ca.crt`. As on OpenShift, deleting Secret `signing-key` in namespace
`openshift-service-ca` rotates: a new CA signs everything anew. The old one stays trusted beside it, which
OpenShift does only when it rotates by itself.
"""

import base64
import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from trustme import CA, Blob, LeafCert

from kagenti_devcluster.cluster.kubectl import FIELD_MANAGER
from kagenti_devcluster.standins.resources import NAMESPACES, SECRETS, SERVICES
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.manifests import build_owner
from kagenti_operator.kube.objects.models import KubeObject, LabelledObject
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Added, Event, Removed, Selection
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

SECRET_ANNOTATION = "service.beta.openshift.io/serving-cert-secret-name"
# Not OpenShift's: which CA signed, so that a certificate of an older one is seen without being parsed.
ISSUER_ANNOTATION = "devcluster.kagenti.io/issuer"
CONFIG_MAP = "openshift-service-ca.crt"
CONFIG_MAP_KEY = "service-ca.crt"
OWN_NAMESPACE = "openshift-service-ca"
SIGNING_KEY = "signing-key"
# People on the cluster's machine reach MLflow through a forwarded port; OpenShift's certificates lack these.
LOCAL_NAMES = ("localhost", "127.0.0.1")


def digest(authority: CA) -> str:
    """A name for a CA."""
    return hashlib.sha256(authority.cert_pem.bytes()).hexdigest()[:16]


def build_serving_secret(
    service: LabelledObject, name: str, certificate: LeafCert, authority: CA
) -> Mapping[str, Any]:
    """The Secret with a Service's certificate, which goes when the Service goes."""
    meta = service.metadata
    annotations = {
        ISSUER_ANNOTATION: digest(authority),
        "service.beta.openshift.io/originating-service-name": meta.name,
    }
    metadata = {
        "name": name,
        "namespace": meta.namespace,
        "annotations": annotations,
        "ownerReferences": [build_owner(SERVICES, service)],
    }
    return build_tls_secret(metadata, certificate.cert_chain_pems[0], certificate.private_key_pem)


def build_bundle(namespace: str, bundle: str) -> Mapping[str, Any]:
    """The ConfigMap with the CA, for one namespace."""
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": namespace,
            "annotations": {"service.beta.openshift.io/inject-cabundle": "true"},
        },
        "data": {CONFIG_MAP_KEY: bundle},
    }


def names_of(service: LabelledObject) -> list[str]:
    """The names for which a Service's certificate is good."""
    host = f"{service.metadata.name}.{service.metadata.namespace}.svc"
    return [host, f"{host}.cluster.local", *LOCAL_NAMES]


def build_tls_secret(metadata: Mapping[str, Any], certificate: Blob, key: Blob) -> Mapping[str, Any]:
    """A Secret with a certificate and its key."""
    return {
        "apiVersion": "v1",
        "kind": SECRETS.kind,
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "data": {
            "tls.crt": base64.b64encode(certificate.bytes()).decode(),
            "tls.key": base64.b64encode(key.bytes()).decode(),
        },
    }


class ServiceCA:
    """Two controllers: certificates by Service, the CA by namespace. A new process is a rotation."""

    def __init__(self, client: KubeClient, *, rng: random.Random, metrics: Metrics) -> None:
        self._client = client
        self._authority = CA()
        self._retired: tuple[bytes, ...] = ()
        self._namespaces = Informer(client, Selection(resource=NAMESPACES), rng)
        self._bundles = Informer(client, Selection(resource=CONFIG_MAPS, name=CONFIG_MAP), rng)
        self._services = Informer(client, Selection(resource=SERVICES), rng)
        self._secrets = Informer(
            client, Selection(resource=SECRETS, field_selector="type=kubernetes.io/tls"), rng
        )
        self.informers = (self._namespaces, self._bundles, self._services, self._secrets)
        self._certificates = build_controller("service-ca-certificates", self._sign, metrics, rng)
        self._publisher = build_controller("service-ca-bundles", self._publish, metrics, rng)
        self.controllers = (self._certificates, self._publisher)
        self._publisher.watches(self._namespaces, _name_of_new)
        self._publisher.watches(self._bundles, lambda event: (event.object.metadata.namespace,))
        self._certificates.watches(self._services, _key_of_annotated)
        self._certificates.watches(self._secrets, self._keys_of_secret)

    @property
    def bundle(self) -> str:
        """The certificates that clients are to trust, the one that signs first, PEM."""
        return b"".join((self._authority.cert_pem.bytes(), *self._retired)).decode()

    async def start(self) -> None:
        """Store the signing key. Whatever key was there belonged to a process that is gone."""
        namespace = {
            "apiVersion": "v1",
            "kind": NAMESPACES.kind,
            "metadata": {"name": OWN_NAMESPACE},
        }
        await self._client.apply(NAMESPACES, namespace, field_manager=FIELD_MANAGER)
        await self._store_key()

    async def rotate(self) -> None:
        """Sign with a new CA from now on, and trust the old one beside it."""
        self._retired = (self._authority.cert_pem.bytes(), *self._retired)
        self._authority = CA()
        log.info("Rotated the service CA", issuer=digest(self._authority))
        await self._store_key()
        # Trust first: who reads the new bundle accepts old and new certificates.
        for namespace in self._namespaces.cache.values():
            await self._publish(namespace.metadata.name)
        for service in self._services.cache.values():
            self._certificates.enqueue(*_key_of_annotated(Added(service)))

    async def _store_key(self) -> None:
        metadata = {"name": SIGNING_KEY, "namespace": OWN_NAMESPACE}
        secret = build_tls_secret(metadata, self._authority.cert_pem, self._authority.private_key_pem)
        await self._client.apply(SECRETS, secret, field_manager=FIELD_MANAGER)

    def _keys_of_secret(self, event: Event[LabelledObject]) -> Iterable[str]:
        if not isinstance(event, Removed):
            return
        namespace, name = event.object.metadata.namespace, event.object.metadata.name
        if (namespace, name) == (OWN_NAMESPACE, SIGNING_KEY):
            yield SIGNING_KEY
        for service in self._services.cache.values():
            if service.metadata.namespace == namespace:
                yield from _key_of_annotated(Added(service))

    async def _publish(self, key: str) -> None:
        current = self._bundles.cache.get(key, CONFIG_MAP)
        if current and (current.data or {}).get(CONFIG_MAP_KEY) == self.bundle:
            return
        if self._namespaces.cache.get("", key) is None:
            return
        try:
            await self._client.apply(CONFIG_MAPS, build_bundle(key, self.bundle), field_manager=FIELD_MANAGER)
        except ApiError as error:
            # A namespace that is going away takes its ConfigMap along.
            if not (error.namespace_terminating or error.not_found):
                raise

    async def _sign(self, key: str) -> None:
        if key == SIGNING_KEY:
            await self.rotate()
            return
        namespace, _, name = key.partition("/")
        service = self._services.cache.get(namespace, name)
        secret_name = service.metadata.annotations.get(SECRET_ANNOTATION) if service else None
        if service is None or secret_name is None:
            return
        current = self._secrets.cache.get(namespace, secret_name)
        issuer = digest(self._authority)
        if current and current.metadata.annotations.get(ISSUER_ANNOTATION) == issuer:
            return
        certificate = self._authority.issue_cert(*names_of(service))
        secret = build_serving_secret(service, secret_name, certificate, self._authority)
        await self._client.apply(SECRETS, secret, field_manager=FIELD_MANAGER)
        log.info("Signed a serving certificate", service=key, secret=secret_name, issuer=issuer)


def _name_of_new(event: Event[KubeObject]) -> tuple[str, ...]:
    return (event.object.metadata.name,) if isinstance(event, Added) else ()


def _key_of_annotated(event: Event[LabelledObject]) -> tuple[str, ...]:
    metadata = event.object.metadata
    wanted = SECRET_ANNOTATION in metadata.annotations and not isinstance(event, Removed)
    return (f"{metadata.namespace}/{metadata.name}",) if wanted else ()
