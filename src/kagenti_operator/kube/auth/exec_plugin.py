"""Credential plugins (`client.authentication.k8s.io`): a command prints a token or a client certificate."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kagenti_operator.kube.errors import ConfigError
from kagenti_operator.kube.objects.models import KubeStruct

_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_TIMEOUT_SECONDS = 60.0
# Long enough for a request under way to arrive before its token expires.
_SPARE = timedelta(seconds=30)


class _ExecStatus(KubeStruct):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(KubeStruct):
    status: _ExecStatus | None = None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ExecPlugin:
    """What a credential plugin gave, kept until it expires or the API server refuses it."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        api_version: str,
        install_hint: str = "",
        cluster: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`cluster` is what the plugin learns of the cluster, None where it does not ask."""
        if api_version not in _API_VERSIONS:
            raise ConfigError(
                f"credential plugin {command[0]} wants {api_version}; "
                f"supported are {', '.join(_API_VERSIONS)}"
            )
        self._command = tuple(command)
        self._env = dict(env)
        self._api_version = api_version
        self._install_hint = install_hint
        self._cluster = cluster
        self._now = now
        self._lock = asyncio.Lock()
        self._credential: _ExecStatus | None = None
        self._rejected = False

    def current(self) -> str | None:
        """Return the token of the last run; None before the first, and where it gave a certificate only."""
        return self._credential.token if self._credential else None

    def key_pair(self) -> tuple[bytes, bytes] | None:
        """Return the client certificate of the last run and its key (PEM); None where it gave none."""
        status = self._credential
        if status is None or not status.client_certificate_data or not status.client_key_data:
            return None
        return status.client_certificate_data.encode(), status.client_key_data.encode()

    async def prepare(self) -> None:
        """Run the plugin unless what it gave is still good. Raises ConfigError when it gives nothing."""
        async with self._lock:
            if not self._is_good():
                self._credential = self._parse(await self._run())
                self._rejected = False

    def reject(self) -> None:
        """Run the plugin again before the next use."""
        self._rejected = True

    def _is_good(self) -> bool:
        if self._credential is None or self._rejected:
            return False
        expiry = self._credential.expiration_timestamp
        return expiry is None or self._now() + _SPARE < expiry

    def _parse(self, output: bytes) -> _ExecStatus:
        try:
            status = msgspec.json.decode(output, type=_ExecCredential).status
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"credential plugin {self._command[0]} printed no ExecCredential: {error}"
            ) from error
        if status is None or not (status.token or status.client_certificate_data):
            raise ConfigError(f"credential plugin {self._command[0]} gave no token and no client certificate")
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise ConfigError(
                f"credential plugin {self._command[0]} gave only one of client certificate and key"
            )
        return status

    async def _run(self) -> bytes:
        # The plugin must not ask anything: there may be nobody at the terminal.
        spec = {"interactive": False, **({"cluster": self._cluster} if self._cluster is not None else {})}
        info = {"apiVersion": self._api_version, "kind": "ExecCredential", "spec": spec}
        env = {**os.environ, **self._env, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, env=env, stdin=null, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            hint = f"; {self._install_hint.strip()}" if self._install_hint else ""
            raise ConfigError(
                f"cannot run the credential plugin {self._command[0]}: {error}{hint}"
            ) from error
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                output, complaint = await process.communicate()
        except TimeoutError as error:
            raise ConfigError(
                f"credential plugin {self._command[0]} was not done within {_TIMEOUT_SECONDS:.0f} s"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise ConfigError(
                f"credential plugin {self._command[0]} failed with exit status {process.returncode}: "
                f"{complaint.decode(errors='replace').strip()}"
            )
        return output
