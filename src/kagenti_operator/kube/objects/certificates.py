"""cert-manager's objects, partial: what is written of them, and whether a certificate was issued."""

import msgspec

from kagenti_operator.kube.objects.models import Condition, KubeStruct, LabelledObject


class IssuerReference(KubeStruct):
    """Who signs a certificate."""

    name: str = ""
    kind: str = ""
    group: str = ""


class PrivateKey(KubeStruct):
    """How a key is made."""

    algorithm: str = ""
    size: int = 0


class CertificateSpec(KubeStruct):
    """Spec of a Certificate."""

    secret_name: str = ""
    common_name: str = ""
    is_ca: bool = msgspec.field(default=False, name="isCA")
    duration: str = ""
    renew_before: str = ""
    private_key: PrivateKey = PrivateKey()
    issuer_ref: IssuerReference = IssuerReference()


class CertificateStatus(KubeStruct):
    """Status of a Certificate."""

    conditions: tuple[Condition, ...] | None = None


class Certificate(LabelledObject):
    """`cert-manager.io/v1`."""

    spec: CertificateSpec = CertificateSpec()
    status: CertificateStatus | None = None

    @property
    def is_issued(self) -> bool:
        """Whether its Secret is there."""
        conditions = (self.status.conditions if self.status else None) or ()
        return any((it.type, it.status) == ("Ready", "True") for it in conditions)


class IssuerSpec(KubeStruct):
    """Spec of an Issuer; of the ways to sign only one's own signature is read."""

    self_signed: dict[str, str] | None = None


class Issuer(LabelledObject):
    """`cert-manager.io/v1`."""

    spec: IssuerSpec = IssuerSpec()
