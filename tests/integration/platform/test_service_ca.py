"""Certificates for Services and the CA for everybody, as OpenShift's service CA operator gives them."""

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from kagenti_devcluster.testing.platform import Platform, eventually

SIGNING_KEY = "/api/v1/namespaces/openshift-service-ca/secrets/signing-key"

pytestmark = pytest.mark.usefixtures("stand_ins")


def bundle_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/openshift-service-ca.crt"


def secret_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/web-tls"


async def trusted(api: Platform, namespace: str) -> list[x509.Certificate]:
    found = await api.get(bundle_path(namespace))
    assert found is not None
    return x509.load_pem_x509_certificates(found["data"]["service-ca.crt"].encode())


async def served(api: Platform, namespace: str) -> x509.Certificate:
    secret = await api.get(secret_path(namespace))
    assert secret is not None
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def verify(certificate: x509.Certificate, trust: Sequence[x509.Certificate], name: str) -> None:
    """What a TLS client does."""
    # Which extensions are critical is up to browsers; OpenSSL and Go do not mind.
    names = ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
    )
    builder = PolicyBuilder().store(Store(list(trust)))
    builder = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=names)
    builder.build_server_verifier(x509.DNSName(name)).verify(certificate, [])


async def make_service(api: Platform, namespace: str) -> None:
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web",
            "namespace": namespace,
            "annotations": {"service.beta.openshift.io/serving-cert-secret-name": "web-tls"},
        },
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 443}]},
    }
    await api.put(f"/api/v1/namespaces/{namespace}/services/web", service)


async def test_every_namespace_gets_the_ca_and_gets_it_back(api: Platform, namespace: str) -> None:
    await eventually(lambda: trusted(api, namespace))
    await api.delete(bundle_path(namespace))
    await eventually(lambda: trusted(api, namespace))
    await api.patch(bundle_path(namespace), {"data": {"service-ca.crt": "nonsense"}})

    async def restored() -> None:
        found = await api.get(bundle_path(namespace))
        assert found is not None
        assert found["data"]["service-ca.crt"] != "nonsense"

    await eventually(restored)


async def test_an_annotated_service_gets_a_certificate_that_clients_accept(
    api: Platform, namespace: str
) -> None:
    await make_service(api, namespace)
    certificate = await eventually(lambda: served(api, namespace))
    trust = await eventually(lambda: trusted(api, namespace))
    for name in (f"web.{namespace}.svc", f"web.{namespace}.svc.cluster.local", "localhost"):
        verify(certificate, trust, name)


async def test_a_deleted_certificate_is_signed_again(api: Platform, namespace: str) -> None:
    await make_service(api, namespace)
    first = await eventually(lambda: served(api, namespace))
    await api.delete(secret_path(namespace))
    second = await eventually(lambda: served(api, namespace))
    assert second.serial_number != first.serial_number


async def test_deleting_the_signing_key_rotates_and_keeps_the_old_ca_trusted(
    api: Platform, namespace: str
) -> None:
    await make_service(api, namespace)
    old = await eventually(lambda: served(api, namespace))
    (old_ca,) = await eventually(lambda: trusted(api, namespace))
    await api.delete(SIGNING_KEY)

    async def rotated() -> None:
        new = await served(api, namespace)
        assert new.serial_number != old.serial_number
        trust = await trusted(api, namespace)
        assert trust[1:] == [old_ca]
        name = f"web.{namespace}.svc"
        verify(new, trust[:1], name)
        verify(old, trust, name)
        assert await api.get(SIGNING_KEY) is not None

    await eventually(rotated)
