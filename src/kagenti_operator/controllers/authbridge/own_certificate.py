"""The webhook's certificate of the operator's own making.

One Secret of the operator's namespace holds authority and certificate for all replicas. The replica that
leads makes and renews them, and puts the bundle of authorities into the webhook configuration. Only the first
ones are made by whoever misses them: where AuthBridge is switched on by an upgrade, a replica that knows
nothing of it leads until the new one is ready, and without a certificate that would be never. Each replica
serves what is in the Secret: a renewed certificate only once the configuration has trusted its authority for
long enough that every API server knows it.
"""

import asyncio
import ssl
import sys

import msgspec
import structlog

from kagenti_operator import clock
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.permissions import Permission, permit
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.manifests import Manifest, build_manifest, build_patch
from kagenti_operator.kube.objects.models import MutatingWebhookConfiguration, Secret
from kagenti_operator.kube.resources import MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.serving_certificate import (
    CertificateError,
    hand_over,
    load_certificate,
)
from kagenti_operator.runtime.telemetry.standing import Standing
from kagenti_operator.runtime.webhook.credentials import Credentials, Request

log = structlog.get_logger(__name__)

NAME = "webhook-certificate"
CA_BUNDLE, CA_KEY, CERTIFICATE, KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"
_END = b"-----END CERTIFICATE-----"
# API servers hear of a changed configuration by a watch, within a second.
SETTLE_SECONDS = 10.0
# A clock that was put right, or a machine that slept, must not keep a certificate from being renewed.
_LOOK_AGAIN_SECONDS = 3600.0
# The replica that leads is faster, where it knows of AuthBridge.
FIRST_SECONDS = 5.0


class CertificateObjects:
    """The Secret and the webhook configuration, as the caches have them."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings, informers = dependencies.settings, dependencies.informers
        self.names = settings.names
        self.namespace = settings.own_namespace
        self.secrets = informers.get(
            Selection(resource=SECRETS, namespace=self.namespace, name=self.names.webhook_secret)
        )
        self.configurations = informers.get(
            Selection(resource=MUTATING_WEBHOOK_CONFIGURATIONS, name=self.names.webhook_configuration)
        )

    @property
    def secret(self) -> Secret | None:
        """The Secret."""
        return self.secrets.cache.get(self.namespace, self.names.webhook_secret)

    @property
    def configuration(self) -> MutatingWebhookConfiguration | None:
        """The webhook configuration."""
        return self.configurations.cache.get("", self.names.webhook_configuration)

    @property
    def trusted(self) -> bytes:
        """The bundle in the webhook configuration, empty where there is none."""
        configuration = self.configuration
        hooks = configuration.webhooks if configuration else ()
        return next((h.client_config.ca_bundle for h in hooks if h.name == self.names.webhook_name), b"")

    @property
    def dns_names(self) -> tuple[str, ...]:
        """Under which names API servers reach the webhook."""
        service = f"{self.names.webhook_service}.{self.namespace}.svc"
        return (service, f"{service}.cluster.local")

    def build_secret(self, wanted: Credentials) -> Manifest:
        """Build the Secret; the chart makes it, empty, so that it goes with the release."""
        return build_manifest(
            SECRETS,
            self.names.webhook_secret,
            self.namespace,
            # Its labels are Helm's.
            labels={},
            data={
                CA_BUNDLE: wanted.bundle,
                CA_KEY: wanted.ca_key,
                CERTIFICATE: wanted.certificate,
                KEY: wanted.key,
            },
        )

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What keeping them takes."""
        names = self.names
        return (
            *permit(SECRETS, "create", "patch", namespace=self.namespace, name=names.webhook_secret),
            *permit(MUTATING_WEBHOOK_CONFIGURATIONS, "patch", name=names.webhook_configuration),
        )


def setup(dependencies: Dependencies, objects: CertificateObjects) -> Controller[str]:
    """Watch the Secret and the webhook configuration."""
    reconciler = CertificateReconciler(dependencies, objects)
    return build_singleton(dependencies, NAME, reconciler.reconcile, objects.secrets, objects.configurations)


class CertificateReconciler:
    """Keeps the Secret, and the bundle in the webhook configuration."""

    def __init__(self, dependencies: Dependencies, objects: CertificateObjects) -> None:
        self._objects = objects
        self._applier = Applier(dependencies.client)
        self._missing = Standing[str]()
        # What the Secret was looked at as, and until when that holds.
        self._looked_at: tuple[str, float] = ("", 0.0)

    async def reconcile(self) -> float | None:
        """Renew what is due, then have the configuration trust it."""
        objects = self._objects
        secret, data = objects.secret, (objects.secret.data if objects.secret else None) or {}
        now = clock.monotonic()
        version, until = self._looked_at
        if secret is None or secret.metadata.resource_version != version or now >= until:
            wanted = await _renew(
                Request(
                    names=objects.dns_names,
                    bundle=data.get(CA_BUNDLE, b""),
                    ca_key=data.get(CA_KEY, b""),
                    certificate=data.get(CERTIFICATE, b""),
                    key=data.get(KEY, b""),
                    trusted=objects.trusted,
                )
            )
            if await self._applier.ensure(SECRETS, objects.build_secret(wanted), secret):
                log.info("Webhook certificate renewed", renewed=list(wanted.renewed))
                # Its event comes with what the API server has now.
                return CONFIRM_SECONDS
            until = now + min(max(wanted.renew_seconds, 1.0), _LOOK_AGAIN_SECONDS)
            self._looked_at = (secret.metadata.resource_version if secret else "", until)
        if await self._announce(data.get(CA_BUNDLE, b"")):
            return CONFIRM_SECONDS
        return until - now

    async def _announce(self, bundle: bytes) -> bool:
        configuration, names = self._objects.configuration, self._objects.names
        if configuration is None:
            if self._missing.holds(names.webhook_configuration, ""):
                log.warning(
                    "The webhook configuration is missing, so nothing is injected: install it with the chart "
                    "(authbridge.enable), or switch AuthBridge off",
                    name=names.webhook_configuration,
                )
            return False
        self._missing.ends(names.webhook_configuration)
        hooks = [
            {"name": names.webhook_name, "clientConfig": {"caBundle": bundle}},
        ]
        patch = build_patch(MUTATING_WEBHOOK_CONFIGURATIONS, configuration, webhooks=hooks)
        return await self._applier.ensure(MUTATING_WEBHOOK_CONFIGURATIONS, patch, configuration)


async def _renew(request: Request) -> Credentials:
    """Have it done in a process of its own. Raises CertificateError."""
    command = (sys.executable, "-m", "kagenti_operator.runtime.webhook.authority")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        made, complaints = await process.communicate(msgspec.json.encode(request))
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        reason = complaints.decode(errors="replace").strip().rpartition("\n")[2]
        raise CertificateError(
            f"the webhook's certificate could not be made: {reason or f'status {process.returncode}'}"
        )
    return msgspec.json.decode(made, type=Credentials)


class OwnCertificate:
    """What this replica shows: follows the Secret, and waits with what is not trusted yet."""

    def __init__(self, client: KubeClient, objects: CertificateObjects) -> None:
        """`client` writes from replicas that do not lead too."""
        self._client = client
        self._objects = objects
        self._changed = asyncio.Event()
        self._loaded = asyncio.Event()
        self._pem = b""
        self._current = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The authority that waits, and since when the configuration has trusted it.
        self._trusted_since: tuple[bytes, float] | None = None
        objects.secrets.subscribe(lambda _: self._changed.set())
        objects.configurations.subscribe(lambda _: self._changed.set())

    async def provide(self) -> ssl.SSLContext:
        """TLS settings for a listening socket, once there is a certificate."""
        await self._loaded.wait()
        return hand_over(load_certificate(self._pem), lambda: self._current)

    async def run(self) -> None:
        """Follow the Secret until cancelled."""
        while True:
            self._changed.clear()
            seconds = self._look()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                if not self._loaded.is_set():
                    await self._make_first()

    async def _make_first(self) -> None:
        """Fill the Secret, unless somebody else does meanwhile."""
        objects = self._objects
        secret = objects.secret
        if not objects.secrets.synced or (secret and (secret.data or {}).get(CERTIFICATE)):
            return
        try:
            made = await _renew(Request(names=objects.dns_names, trusted=objects.trusted))
            manifest = objects.build_secret(made)
            if secret is None:
                await self._client.create(SECRETS, manifest)
            else:
                version = {"resourceVersion": secret.metadata.resource_version}
                metadata = {**manifest["metadata"], **version}
                await self._client.apply(SECRETS, {**manifest, "metadata": metadata})
        except (KubeError, CertificateError) as error:
            log.warning("The webhook's first certificate could not be made, trying again", error=str(error))
        else:
            log.info("Made the webhook's first certificate")

    def _look(self) -> float | None:
        """Serve what is to be served; return after how many seconds that may be something else."""
        secret = self._objects.secret
        data = (secret.data if secret else None) or {}
        pem = data.get(KEY, b"") + data.get(CERTIFICATE, b"")
        if not pem:
            return None if self._loaded.is_set() else FIRST_SECONDS
        if pem == self._pem:
            return None
        if self._loaded.is_set() and (wait := self._seconds_until_trusted(data.get(CA_BUNDLE, b""))):
            return wait if wait > 0 else None
        try:
            self._current = load_certificate(pem)
        except CertificateError as error:
            log.warning("The webhook's Secret cannot be used, serving what it held before", error=str(error))
            return None
        self._pem = pem
        self._loaded.set()
        log.info("Serving the webhook with a new certificate")
        return None

    def _seconds_until_trusted(self, bundle: bytes) -> float:
        """0 when it is, less where that is not in sight."""
        authority = bundle[: bundle.find(_END) + len(_END)]
        if authority not in self._objects.trusted:
            self._trusted_since = None
            return -1.0
        now = clock.monotonic()
        if self._trusted_since is None or self._trusted_since[0] != authority:
            self._trusted_since = (authority, now)
        return max(self._trusted_since[1] + SETTLE_SECONDS - now, 0.0)
