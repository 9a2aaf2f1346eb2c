"""AuthBridge: everything that `--enable-authbridge` turns on."""

from kagenti_operator import contract
from kagenti_operator.controllers import openshift
from kagenti_operator.controllers.authbridge import own_certificate, registration_feature, upkeep_feature
from kagenti_operator.controllers.authbridge.admission import PodAdmission
from kagenti_operator.controllers.authbridge.admission_metrics import AdmissionMetrics
from kagenti_operator.controllers.authbridge.admission_writes import AdmissionWrites
from kagenti_operator.controllers.authbridge.certificate_files import FileCertificate
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.own_certificate import CertificateObjects, OwnCertificate
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.runtime.telemetry.listener import Listener
from kagenti_operator.runtime.webhook.admission import LIMITS, build_admission_app

WEBHOOK = "webhook"


def build_features(dependencies: Dependencies, facts: AuthBridgeFacts) -> tuple[Feature, ...]:
    """Build the webhook, what is kept around it, and, where that is switched on, client registration."""
    features = (build_webhook_feature(dependencies, facts), upkeep_feature.build_feature(dependencies, facts))
    if dependencies.keycloak is None:
        return features
    return (*features, registration_feature.build_feature(dependencies, facts, dependencies.keycloak))


def build_facts(dependencies: Dependencies) -> AuthBridgeFacts:
    """Build what decides. Each replica decides, so each has to know by itself whether this is OpenShift."""
    definitions = openshift.Definitions(dependencies)
    return AuthBridgeFacts(dependencies, definitions, definitions.informer)


def build_webhook_feature(dependencies: Dependencies, facts: AuthBridgeFacts) -> Feature:
    """Build the webhook, which every replica serves, whether or not it leads."""
    settings = dependencies.settings
    writes = AdmissionWrites(dependencies, facts.namespaces, WorkloadFacts(dependencies))
    admission, metrics = PodAdmission(dependencies, facts, writes), AdmissionMetrics()
    app = build_admission_app(contract.WEBHOOK_PATH, metrics.observing(admission.review))

    def listen(certificate: FileCertificate | OwnCertificate) -> Listener:
        return Listener(WEBHOOK, app, settings.webhook_address, tls=certificate.provide, limits=LIMITS)

    always = {"webhook events": dependencies.unfenced_events.run}
    if settings.webhook_cert_path:
        listener = listen(FileCertificate(settings.webhook_cert_path))
        return Feature(
            name=WEBHOOK,
            informers=admission.informers,
            permissions=writes.permissions,
            metrics=(metrics,),
            always={**always, WEBHOOK: listener.run},
            ready={WEBHOOK: lambda: _check(listener)},
        )
    objects = CertificateObjects(dependencies)
    own = OwnCertificate(dependencies.unfenced, objects)
    listener = listen(own)
    return Feature(
        name=WEBHOOK,
        informers=(*admission.informers, objects.secrets, objects.configurations),
        controllers=(own_certificate.setup(dependencies, objects),),
        permissions=(*writes.permissions, *objects.permissions),
        metrics=(metrics,),
        always={**always, WEBHOOK: listener.run, "webhook certificate": own.run},
        ready={WEBHOOK: lambda: _check(listener)},
    )


def _check(listener: Listener) -> str | None:
    return None if listener.ready.is_set() else "not served yet: it waits for its certificate"
