"""How a cluster was asked for: what the command line, the host's side and the node all know."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from kagenti_devcluster.profiles import DEFAULT, Profile


@dataclass(frozen=True, kw_only=True)
class Published:
    """A Service that the machine reaches on 127.0.0.1.

    `host_port` is taken where it is free, else any free port is.
    """

    name: str
    namespace: str
    service: str
    port: int
    host_port: int = 0


# Namespace and Service under which the platform has it.
KEYCLOAK = Published(
    name="keycloak", namespace="keycloak", service="keycloak-service", port=8080, host_port=8180
)
# The API server's proxy keeps tokens of its own callers to itself, and this agent wants to see one.
WEATHER_AGENT = Published(name="weather-agent", namespace="team1", service="weather-agent", port=8000)


def publish(profile: Profile, *, mlflow: bool, keycloak: bool) -> tuple[Published, ...]:
    """What the machine is to reach: MLflow, where that platform has it, Keycloak and an agent behind it."""
    published: list[Published] = []
    if mlflow:
        namespace = profile.applications
        published.append(
            Published(name="mlflow", namespace=namespace, service="mlflow", port=8443, host_port=8443)
        )
    if keycloak:
        published += [KEYCLOAK, WEATHER_AGENT]
    return tuple(published)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Everything a cluster is started with.

    `directory` is the state directory, `profile` the name of one. `bare` leaves the platform out,
    `keycloak` puts a Keycloak beside it. `images` is a further table of images, looked at before the one that
    comes with the package.
    """

    directory: Path
    profile: str = DEFAULT.name
    bare: bool = False
    keycloak: bool = False
    images: Path | None = None
    published: tuple[Published, ...] = ()

    def encode(self) -> str:
        """As JSON, for the command line of the next process."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @staticmethod
    def decode(text: str) -> "ClusterOptions":
        """Undo `encode`."""
        return msgspec.json.decode(text, type=ClusterOptions, dec_hook=lambda kind, value: kind(value))
