"""What a running cluster says of itself, in a file that everybody on the machine's side reads."""

import os
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from kagenti_devcluster.errors import DevClusterError

log = structlog.get_logger(__name__)

type Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Phase, what was done so far, and where things are.

    `components` maps a component to `running` or to what happened to it, `addresses` a name to `host:port`.
    """

    phase: Phase
    profile: str
    bare: bool = False
    keycloak: bool = False
    message: str = ""
    steps: tuple[str, ...] = ()
    components: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    addresses: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    started_at: str = ""


def write_status(path: Path, status: Status) -> None:
    """Replace the file in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.encode(status))
    temporary.replace(path)


def read_status(path: Path) -> Status | None:
    """What the file says; None where there is none. Raises DevClusterError for one that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DevClusterError(
            f"{path} is damaged ({error}): run `kagenti-devcluster down` and `up` on this directory, or name "
            "another one with --directory"
        ) from error


class Progress:
    """Keeps the status file up to date."""

    def __init__(self, path: Path, status: Status):
        self._path = path
        self.status = status
        self._write()

    def _write(self) -> None:
        write_status(self._path, self.status)

    def step(self, text: str) -> None:
        """Something was done that people wait for."""
        log.info(text)
        self.status = msgspec.structs.replace(self.status, steps=(*self.status.steps, text))
        self._write()

    def phase(self, phase: Phase, message: str = "") -> None:
        """A new phase began."""
        self.status = msgspec.structs.replace(self.status, phase=phase, message=message)
        self._write()

    def component(self, name: str, state: str) -> None:
        """A component started or ended."""
        components = {**self.status.components, name: state}
        self.status = msgspec.structs.replace(self.status, components=components)
        self._write()
