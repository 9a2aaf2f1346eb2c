"""Which experiments are the collector's, or were: kept on its RoleBinding, so that a restart forgets none."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.runtime.observable import Observable

ANNOTATION = "collector-experiments"
# So long is an annotation that is read whole. Only another database, or another setting, brings another one.
MOST = 10


@dataclass(frozen=True)
class Resolved:
    """An experiment that exists in MLflow, and the server and workspace where it does."""

    base_url: str
    workspace: str
    experiment: Experiment


class ExperimentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: the one configured then; `experiments`: ids and creation times, the last one first."""

    name: str
    experiments: tuple[tuple[str, int], ...]


class CollectorExperiments:
    """The collector's experiment as MLflow last had it, and all that it ever had, by workspace."""

    def __init__(self, settings: Settings, access: AccessFacts | None) -> None:
        self._names = settings.names
        self._workspace = settings.mlflow_workspace
        self._name = settings.mlflow_experiment_name
        self._access = access
        self._records: dict[str, ExperimentRecord] = {}
        self.resolved = Observable[Resolved | None](None)

    def is_known(self, workspace: str) -> bool:
        """Whether it is known which experiments of a workspace are the collector's."""
        return workspace != self._workspace or self.resolved.value is not None

    def has_name(self, workspace: str, name: str) -> bool:
        """Whether that is the name of the collector's experiment, or the one that it is to have."""
        found = self.resolved.value
        names = {self._name, found.experiment.name} if found else {self._name}
        return workspace == self._workspace and name in names

    def owns(self, workspace: str, experiment: Experiment) -> bool:
        """Whether an experiment of a workspace is the collector's, or was: it holds spans of all teams."""
        found, record = self.resolved.value, self.record(workspace)
        if found and found.workspace == workspace and found.experiment.is_same(experiment):
            return True
        return any(
            # A Role of an earlier version does not say when its experiment was created.
            experiment.id == known and experiment.creation_time in (created, None)
            for known, created in (record.experiments if record else ())
        )

    def last(self, workspace: str, name: str) -> Experiment | None:
        """The experiment that the collector had when that name was configured, as the last one."""
        record = self.record(workspace)
        if record is None or record.name != name or not record.experiments:
            return None
        experiment_id, created = record.experiments[0]
        return Experiment(id=experiment_id, name=name, creation_time=created)

    def found(self, resolved: Resolved, name: str) -> None:
        """Remember what MLflow has for the configured name, and announce it."""
        experiment, workspace = resolved.experiment, resolved.workspace
        if experiment.creation_time is not None:
            own = (experiment.id, experiment.creation_time)
            before = self.record(workspace)
            others = (it for it in (before.experiments if before else ()) if it != own)
            self._records[workspace] = ExperimentRecord(name=name, experiments=(own, *others)[:MOST])
        self.resolved.set(resolved)

    def record(self, workspace: str) -> ExperimentRecord | None:
        """What is remembered, or was recorded by an operator before this one."""
        if workspace not in self._records and (record := self._read(workspace)):
            self._records[workspace] = record
        return self._records.get(workspace)

    def annotations(self, workspace: str) -> Mapping[str, str] | None:
        """What has to stand on the collector's RoleBinding of that workspace."""
        record = self.record(workspace)
        return record and {self._names.mlflow_annotation(ANNOTATION): msgspec.json.encode(record).decode()}

    def _read(self, workspace: str) -> ExperimentRecord | None:
        binding = self._access.binding(workspace) if self._access else None
        labels = binding.metadata.labels if binding else None
        if binding is None or labels is None or labels.managed_by != self._names.manager:
            return None
        text = binding.metadata.annotations.collector_experiments
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=ExperimentRecord)
        except msgspec.DecodeError:
            # Somebody may have written anything there.
            return None
