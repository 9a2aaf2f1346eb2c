"""The platforms that the cluster can look like: what differs between them, a few lines of data each."""

from collections.abc import Mapping
from dataclasses import dataclass

from kagenti_devcluster.errors import DevClusterError
from kagenti_operator.contract import KAGENTI, ROSSOCTL, Names


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One platform.

    `mlflow` is the release of MLflow that it ships, in the environment of its first two numbers. It is in
    namespace `applications`; `address_path` is the path of `status.address.url`, below which it serves REST
    too. `agent_runtimes`: its own operator labels agents, and nobody else may; without it, people do.
    """

    name: str
    title: str
    names: Names
    mlflow: str
    applications: str
    address_path: str = "/mlflow"
    openshift: bool = True
    reports_version: bool = True
    agent_runtimes: bool = False

    @property
    def mlflow_release(self) -> str:
        """The release without its patch, which names its image and its environment."""
        return ".".join(self.mlflow.split(".")[:2])

    @property
    def mlflow_address(self) -> str:
        """MLflow as the cluster's pods reach it."""
        return f"https://mlflow.{self.applications}.svc:8443{self.address_path}"

    @property
    def values(self) -> Mapping[str, str]:
        """What the placeholders of the packaged manifests stand for."""
        return {
            "prefix": self.names.prefix,
            "domain": self.names.domain,
            "system": self.names.namespace,
            "applications": self.applications,
        }


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="openshift-ai-3.4",
            title="OpenShift AI 3.4",
            names=KAGENTI,
            mlflow="3.10.1",
            applications="redhat-ods-applications",
            address_path="",
            reports_version=False,
        ),
        Profile(
            name="openshift-ai-3.5",
            title="OpenShift AI 3.5",
            names=ROSSOCTL,
            mlflow="3.14.0",
            applications="redhat-ods-applications",
            agent_runtimes=True,
        ),
        Profile(
            name="next",
            title="the OpenShift AI after 3.5",
            names=ROSSOCTL,
            mlflow="3.17.2",
            applications="redhat-ods-applications",
            agent_runtimes=True,
        ),
        Profile(
            name="open-data-hub",
            title="Open Data Hub",
            names=KAGENTI,
            mlflow="3.17.2",
            applications="opendatahub",
            agent_runtimes=True,
        ),
        Profile(
            name="kubernetes",
            title="plain Kubernetes with the MLflow operator",
            names=KAGENTI,
            mlflow="3.14.0",
            applications="mlflow",
            openshift=False,
        ),
    )
}
DEFAULT = PROFILES["openshift-ai-3.5"]


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises DevClusterError that names the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        raise DevClusterError(f"there is no profile {name!r}: there are {', '.join(PROFILES)}") from None
