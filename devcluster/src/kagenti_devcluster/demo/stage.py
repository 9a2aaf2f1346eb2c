"""What the steps share: the cluster they run on, who they are there, and what earlier steps found."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import aiohttp

from kagenti_devcluster.cluster.kubectl import Manifest, apply, read_manifests
from kagenti_devcluster.demo.api import Api
from kagenti_devcluster.demo.commands import checkout_path
from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.fitting import fit
from kagenti_devcluster.demo.logs import PodLogs
from kagenti_devcluster.demo.mlflow_reader import MLflowReader
from kagenti_devcluster.demo.parent_death import Watchdog
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.waiting import Overdue, until
from kagenti_devcluster.demo.workloads import annotate_templates
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.profiles import find_profile
from kagenti_devcluster.standins.own_certificate import CONFIG_MAP, CONFIG_MAP_KEY
from kagenti_operator.contract import SERVICE_CA, SERVICE_CA_KEY
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.connector import Connector

TEAM = "team1"
COLLECTOR = "otel-collector"
COLLECTOR_HTTP = 8335
READER = "trace-reader"
MLFLOW = "mlflow"
_EVIDENCE_LINES = 15

# MLflow's server closes connections that are idle for 5 s: do not use one that is about to go.
_KEEPALIVE_SECONDS = 4.0


class Stage:
    """An open cluster; `connect` must have been called before anything is asked of it."""

    def __init__(
        self,
        options: ClusterOptions,
        console: Console,
        exits: AsyncExitStack,
        environ: Mapping[str, str],
    ) -> None:
        self.options = options
        self.profile = find_profile(options.profile)
        self.names = self.profile.names
        self.system = self.names.namespace
        self.operator = self.names.deployment
        self.console = console
        self.environ = environ
        self.paths = StatePaths(options.directory)
        self.logs = PodLogs(self.paths)
        # Only where this run started the cluster.
        self.watchdog: Watchdog | None = None
        self._exits = exits
        self._api: Api | None = None
        self._session: aiohttp.ClientSession | None = None
        self._mlflow: MLflowReader | None = None
        # What earlier steps found, for later ones.
        self.addresses: Mapping[str, str] = {}
        self.stand_in = True
        # None: not chosen in this run.
        self.model: str | None = None
        self.experiment_id = ""
        self.trace_id = ""
        self.experiments: dict[str, str] = {}

    async def connect(self) -> None:
        """Open the connections to the cluster's API server. Raises KubeError."""
        connection = load_connection({"KUBECONFIG": str(self.paths.kubeconfig)})
        session = aiohttp.ClientSession(connector=Connector(keepalive_timeout=_KEEPALIVE_SECONDS))
        self._session = await self._exits.enter_async_context(session)
        client = await self._exits.enter_async_context(KubeClient(connection, field_manager="kagenti-demo"))
        self._api = Api(client, self._session)

    @property
    def is_connected(self) -> bool:
        """Whether there is a cluster to look around in."""
        return self._api is not None

    @property
    def api(self) -> Api:
        """The API server, as administrator."""
        if self._api is None:
            raise StepFailed(Hop.CLUSTER, "there is no cluster to run the demo on")
        return self._api

    @property
    def mlflow_url(self) -> str:
        """MLflow's address on this machine, with the path below which it serves REST."""
        return f"https://{self.addresses[MLFLOW]}{self.profile.address_path}"

    async def mlflow(self) -> MLflowReader:
        """MLflow, as the ServiceAccount `trace-reader` of team1."""
        authority = await self._read_authority()
        if self._session is None:
            raise StepFailed(Hop.CLUSTER, "there is no cluster to run the demo on")
        # It rotates.
        if self._mlflow is None or self._mlflow.authority != authority:
            token = await self.api.token(TEAM, READER)
            self._mlflow = MLflowReader(self._session, self.mlflow_url, token, authority)
        return self._mlflow

    @property
    def mlflow_authority(self) -> tuple[str, str]:
        """ConfigMap and key with the CA of MLflow, in the platform's namespace and in those of agents."""
        openshift = self.profile.openshift
        return (SERVICE_CA, SERVICE_CA_KEY) if openshift else (CONFIG_MAP, CONFIG_MAP_KEY)

    async def _read_authority(self) -> str:
        name, key = self.mlflow_authority
        found = await self.api.get(f"/api/v1/namespaces/{self.system}/configmaps/{name}")
        if found is None:
            raise StepFailed(Hop.CLUSTER, f"{self.system} has no ConfigMap {name}")
        return found["data"][key]

    async def apply(self, *manifests: Manifest) -> None:
        """Apply objects of any kind, as the platform wants them. Raises DevClusterError."""
        await apply(self.paths.kubeconfig, fit(manifests, self.profile, await self._read_authority()))

    async def take_label(self, path: str) -> None:
        """Have the workload at that path be an agent no more, as the platform lets people do it."""
        if self.profile.agent_runtimes:
            *_, namespace, _, name = path.split("/")
            group = f"/apis/agent.{self.names.prefix}.dev/v1alpha1"
            await self.api.delete(f"{group}/namespaces/{namespace}/agentruntimes/{name}")
        else:
            label = f"{self.names.domain}/type"
            await self.api.patch(path, {"metadata": {"labels": {label: None}}})

    async def apply_example(self, name: str, *, template_annotations: Mapping[str, str] = {}) -> None:
        """Apply the manifests of a folder of `examples/`, with annotations on the pods of its Deployments."""
        files = sorted(checkout_path(f"examples/{name}").glob("*.yaml"))
        await self.apply(*annotate_templates(read_manifests(*files), template_annotations))

    async def until[T](
        self,
        what: str,
        probe: Callable[[], Awaitable[T]],
        *,
        seconds: float,
        hop: Hop,
        evidence: tuple[str, str] | None = None,
    ) -> T:
        """Wait for a condition. Raises StepFailed with the log's end of `evidence` (namespace, workload)."""
        try:
            return await until(what, probe, seconds=seconds, note=self.console.note)
        except Overdue as overdue:
            if evidence is None:
                raise StepFailed(hop, str(overdue), advice="kagenti-devcluster status") from overdue
            namespace, workload = evidence
            raise StepFailed(
                hop,
                str(overdue),
                excerpt=self.logs.read(namespace, workload)[-_EVIDENCE_LINES:],
                advice=f"kagenti-devcluster logs {workload}",
            ) from overdue
