"""Pure: when the operator's configuration takes the place of the one that is there, if any."""

from dataclasses import dataclass

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.collector.in_place import InPlace
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.otelcol.deliveries import find_deliveries
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.runtime.telemetry.reporter import Report

# For so long the first roll waits for an MLflow that is on its way: it migrates its database and starts
# within two minutes, and its image may have to be pulled. Who uses Phoenix is not held up for longer.
FIRST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the operator's configuration would deliver now.

    `mlflow_expected`: there is an MLflow CR, or a DataScienceCluster that says Managed; `by_kubernetes`:
    MLflow authorizes by Kubernetes; `sends_token`: the collector's token may go to that address.
    """

    destination: MLflowDestination | None
    phoenix: bool
    mlflow_expected: bool
    by_kubernetes: bool
    sends_token: bool = True

    @property
    def missing(self) -> str | None:
        """What keeps it from delivering everything that it is to deliver; None where nothing does."""
        if self.destination is None:
            if self.mlflow_expected:
                return "MLflow cannot take the collector's spans yet"
            return None if self.phoenix else "neither MLflow nor Phoenix is there"
        if not self.by_kubernetes:
            return None
        if self.destination.workspace is None:
            return "no workspace is configured (chart's value mlflow.workspace, flag --mlflow-workspace)"
        if not self.sends_token:
            return (
                f"the collector may not send its token to {self.destination.traces_endpoint} (chart's value "
                "mlflow.allowHTTP, flag --mlflow-allow-http)"
            )
        return None


@dataclass(frozen=True)
class Present:
    """The configuration that is there. `deliveries`: its exporters that deliver somewhere."""

    ours: bool
    deliveries: tuple[str, ...] = ()

    @property
    def foreign_deliveries(self) -> tuple[str, ...]:
        """By what somebody else's configuration delivers."""
        return () if self.ours else self.deliveries


def look_at(names: Names, config_map: ConfigMap | None) -> Present:
    """Tell whether the operator wrote that configuration, and whether it delivers."""
    if config_map is None:
        return Present(ours=False)
    in_place = InPlace.of(names, config_map)
    if in_place.is_ours:
        return Present(ours=True)
    return Present(ours=False, deliveries=find_deliveries(in_place.text))


def keep_foreign(outlook: Outlook, present: Present) -> Report | None:
    """Decide whether to leave somebody else's configuration, and what to say of it; None to write ours."""
    missing = outlook.missing
    return _report_kept(present.deliveries, missing) if present.foreign_deliveries and missing else None


def seconds_to_first_roll(outlook: Outlook, *, rolled_before: bool, waited: float) -> float:
    """For how many seconds not to roll the collector; its pods that wait for the ConfigMap start with it.

    `rolled_before`: to a configuration of ours; `waited`: for how many seconds it has waited already.
    """
    waits = outlook.destination is None and outlook.mlflow_expected and not rolled_before
    return max(0.0, FIRST_SECONDS - waited) if waits else 0.0


def _report_kept(deliveries: tuple[str, ...], missing: str) -> Report:
    return Report(
        reason="ConfigurationKept",
        message=f"ConfigMap {contract.COLLECTOR_CONFIG} is not as the operator wrote it and delivers by "
        f"{', '.join(deliveries)}. It stays until the operator's configuration is complete, which it is not "
        f"because {missing}; then it is replaced in one roll. To keep exporters and pipelines of your own, "
        f"put them into ConfigMap {contract.COLLECTOR_EXTRA}.",
        type="Normal",
        log=True,
    )


def report_waiting() -> Report:
    """Report that the first roll waits."""
    return Report(
        reason="RolloutWaitsForMLflow",
        message="MLflow is wanted and cannot take spans yet. So that the collector is rolled once, its first "
        f"rollout waits for MLflow, for {FIRST_SECONDS / 60:.0f} minutes at most; pods that run until then "
        "keep the configuration that they started with.",
        type="Normal",
        log=True,
    )


def describe_replaced(deliveries: tuple[str, ...]) -> str:
    """What is said on the collector when somebody else's configuration is replaced."""
    return (
        f"Replaced ConfigMap {contract.COLLECTOR_CONFIG}, which the operator had not written and which "
        f"delivered by {', '.join(deliveries)}: what is not MLflow or Phoenix gets no spans any more, unless "
        f"ConfigMap {contract.COLLECTOR_EXTRA} has it. If Helm owns that ConfigMap, let it leave it to the "
        "operator (otelBootstrap.operatorManaged=true)."
    )
