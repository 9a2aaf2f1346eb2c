"""Kubeconfig files: reads and merges them as kubectl does, and selects what the current context names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from kagenti_operator.kube.auth.strict_yaml import parse_yaml
from kagenti_operator.kube.errors import ConfigError
from kagenti_operator.kube.objects.models import KubeStruct

# A file of two hundred clusters with inline certificates fits.
_MAX_BYTES = 1 << 20


class _Strict(KubeStruct, rename="kebab", forbid_unknown_fields=True):
    """A field that is not known here is refused: kubectl may have learned what it means."""


class Extension(_Strict):
    """Data of other programs, of which only that for credential plugins is read."""

    name: str
    extension: Any = None


class Cluster(_Strict):
    """How to reach an API server."""

    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    # Only changes how bytes travel.
    disable_compression: bool | None = None
    extensions: tuple[Extension, ...] | None = None


class Variable(_Strict):
    """An environment variable of a credential plugin."""

    name: str
    value: str


class Exec(_Strict, rename="camel"):
    """A credential plugin."""

    api_version: str
    command: str
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: Literal["Never", "IfAvailable", "Always"] | None = None


class User(_Strict):
    """Who we are, and for whom we act."""

    token: str | None = None
    token_file: str | None = msgspec.field(name="tokenFile", default=None)
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    exec: Exec | None = None
    impersonate: str | None = msgspec.field(name="as", default=None)
    as_uid: str | None = None
    as_groups: tuple[str, ...] | None = None
    as_user_extra: dict[str, tuple[str, ...]] | None = None
    username: str | None = None
    password: str | None = None
    auth_provider: Any = None
    extensions: Any = None


class _Context(_Strict):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None
    extensions: Any = None


class CurrentContext(NamedTuple):
    """What the current context names; paths of files are absolute."""

    name: str
    namespace: str
    cluster: Cluster
    user: User


class _Named(KubeStruct):
    name: str
    cluster: Any = None
    context: Any = None
    user: Any = None


class _File(KubeStruct, rename="kebab"):
    api_version: Literal["v1"] | None = msgspec.field(name="apiVersion", default=None)
    kind: Literal["Config"] | None = None
    current_context: str | None = None
    clusters: tuple[_Named, ...] | None = None
    contexts: tuple[_Named, ...] | None = None
    users: tuple[_Named, ...] | None = None


class Kubeconfig:
    """One or several files: the first that sets an entry or the current context wins."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the files. Raises ConfigError, which names the file that cannot be used."""
        self._current = ""
        # Each entry with the folder of its file, which its relative paths start from.
        self._entries: dict[tuple[str, str], tuple[Any, Path]] = {}
        for path in paths:
            try:
                self._add(_read(path), path.absolute().parent)
            except (OSError, ValueError, msgspec.ValidationError) as error:
                raise ConfigError(f"kubeconfig {path}: {error}") from error

    def _add(self, file: _File, folder: Path) -> None:
        self._current = self._current or file.current_context or ""
        found: dict[tuple[str, str], tuple[Any, Path]] = {}
        for kind, entries in (("cluster", file.clusters), ("context", file.contexts), ("user", file.users)):
            for entry in entries or ():
                if (kind, entry.name) in found:
                    raise ValueError(f"it has two entries for the {kind} '{entry.name}': remove one")
                found[kind, entry.name] = getattr(entry, kind) or {}, folder
        self._entries = found | self._entries

    def current_context(self) -> CurrentContext:
        """Return what the current context names. Raises ValueError with what is missing or wrong."""
        name = self._current
        if not name:
            raise ValueError("it has no current-context; choose one with `kubectl config use-context NAME`")
        context, _ = self._find("context", name, _Context)
        if not context.cluster:
            raise ValueError(f"context '{name}' names no cluster")
        cluster, folder = self._find("cluster", context.cluster, Cluster)
        cluster = _absolute(cluster, folder, "certificate_authority")
        user = User()
        if context.user:
            user, folder = self._find("user", context.user, User)
            user = _absolute(user, folder, "token_file", "client_certificate", "client_key")
            # A bare name is looked up on PATH.
            if user.exec and os.sep in user.exec.command:
                user = msgspec.structs.replace(user, exec=_absolute(user.exec, folder, "command"))
        return CurrentContext(name, context.namespace or "default", cluster, user)

    def _find[T](self, kind: str, name: str, model: type[T]) -> tuple[T, Path]:
        try:
            entry, folder = self._entries[kind, name]
        except KeyError as error:
            raise ValueError(f"it has no entry for the {kind} '{name}', which it refers to") from error
        try:
            return msgspec.convert(entry, model), folder
        except msgspec.ValidationError as error:
            raise ValueError(f"{kind} '{name}' cannot be used: {error}") from error


def _absolute[T: msgspec.Struct](struct: T, folder: Path, *fields: str) -> T:
    paths = {field: str(folder / path) for field in fields if (path := getattr(struct, field))}
    return msgspec.structs.replace(struct, **paths)


def _read(path: Path) -> _File:
    with path.open("rb") as opened:
        content = opened.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB, which no kubeconfig is")
    document = parse_yaml(content)
    return msgspec.convert({} if document is None else document, _File)
