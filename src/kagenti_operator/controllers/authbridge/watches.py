"""What wakes whoever keeps something for each workload: itself, its file, and what `decide` is asked with."""

from functools import partial

from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts, key_of_change, owners_of
from kagenti_operator.runtime.control.controller import Controller


def watch_workloads(
    controller: Controller[AgentKey], facts: AuthBridgeFacts, workloads: WorkloadFacts
) -> None:
    """Watch one workload at a time, a namespace's ConfigMaps for all of it, and the platform for all."""
    for kind, informer in workloads.workloads.items():
        controller.watches(informer, partial(key_of_change, kind), needed=False)
    controller.watches(workloads.files, lambda event: owners_of(event.object))
    namespaces = facts.namespaces
    controller.watches(
        namespaces.namespaces, lambda event: workloads.of_namespace(event.object.metadata.name)
    )
    for informer in (namespaces.configs, namespaces.runtime_configs):
        controller.watches(informer, lambda event: workloads.of_namespace(event.object.metadata.namespace))
    controller.watches(facts.drivers, lambda _: workloads.all())
    for value in (facts.gates.value, facts.platform.value, facts.is_openshift):
        controller.follows(value, workloads.all)
