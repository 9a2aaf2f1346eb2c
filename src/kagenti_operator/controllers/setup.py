"""Puts the operator together: the only place that looks at what the command line switches on."""

from kagenti_operator.controllers import openshift, platform_operator
from kagenti_operator.controllers.agents import feature as agents
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector import feature as collector
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.sources import Access, MLflowSources
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.metrics import BuildMetrics, Leading
from kagenti_operator.controllers.mlflow import console_link
from kagenti_operator.controllers.mlflow import feature as mlflow
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.runtime.observable import Observable


def build_features(dependencies: Dependencies) -> tuple[Feature, ...]:
    """Build what is switched on. Without a switch nothing is followed, and nothing is permitted."""
    settings, leading = dependencies.settings, Leading()
    features = [
        Feature(name="operator", metrics=(BuildMetrics(),), leading={"leading": leading.run}),
    ]
    is_openshift = Observable[bool | None](None)
    if settings.enable_authbridge or settings.enable_mlflow or settings.enable_otel_bootstrap:
        features.append(openshift.build_feature(dependencies, is_openshift))
    further = None
    if settings.enable_authbridge:
        # Some fifty modules, which take 3 MiB where nobody needs them.
        from kagenti_operator.controllers.authbridge import feature as authbridge
        from kagenti_operator.controllers.authbridge.accounts import build_further_accounts

        deciding = authbridge.build_facts(dependencies)
        features += authbridge.build_features(dependencies, deciding)
        further = build_further_accounts(dependencies, deciding) if settings.enable_mlflow else None
    if not (settings.enable_mlflow or settings.enable_otel_bootstrap):
        return tuple(features)
    features.append(platform_operator.build_feature(dependencies))
    found = MLflowFacts(dependencies.informers)
    traces = Observable[TracesURL | None](None)
    access = Access(AccessFacts(dependencies), AgentFacts(dependencies)) if settings.enable_mlflow else None
    own = CollectorExperiments(settings, access.bindings if access else None)
    sources = MLflowSources(found, own, traces, access, dependencies.suspended.mlflow)
    facts = CollectorFacts(dependencies, is_openshift) if settings.enable_otel_bootstrap else None
    features += [
        mlflow.build_discovery_feature(dependencies, found, traces),
        collector.build_experiment_feature(dependencies, sources, leading),
    ]
    if access:
        gone = Observable(False)
        features += [
            mlflow.build_feature(dependencies, found, gone),
            collector.build_access_feature(dependencies, found, access, own, gone, facts, leading),
            agents.build_feature(dependencies, found, access.agents, is_openshift, gone, own, further),
        ]
        if settings.enable_console_link:
            features.append(console_link.build_feature(dependencies, found))
    if facts:
        features.append(collector.build_configuration_feature(dependencies, facts, sources, leading))
    return tuple(features)
