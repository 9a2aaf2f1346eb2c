"""Which files a pod's ConfigMap, Secret, downward and projected volumes hold. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kagenti_devcluster.node.environ import Lookup, PodFacts, SourceMissing, read_field
from kagenti_devcluster.node.models import (
    ConfigMapSource,
    DownwardSource,
    KeyToPath,
    Projection,
    SecretSource,
    TokenSource,
    Volume,
)

_DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    """Content and permissions of a projected file."""

    content: bytes
    mode: int = _DEFAULT_MODE


# Relative path to file.
type Files = dict[str, File]
# The token that belongs to a source; asked for when it is needed, kept until it is renewed.
type TokenOf = Callable[[TokenSource], str]


def digest(files: Files) -> str:
    """Equal for equal sets of files."""
    sha = hashlib.sha256()
    for path, file in sorted(files.items()):
        sha.update(f"{path} {file.mode} {len(file.content)}\n".encode())
        sha.update(file.content)
    return sha.hexdigest()


def _project_keys(
    kind: str, name: str, content: Mapping[str, bytes], items: Iterable[KeyToPath] | None, mode: int
) -> Files:
    if items is None:
        return {key: File(value, mode) for key, value in content.items()}
    files: Files = {}
    for item in items:
        if item.key not in content:
            raise SourceMissing(f"{kind} {name!r} has no key {item.key!r}")
        files[item.path] = File(content[item.key], mode if item.mode is None else item.mode)
    return files


def _project_object(
    kind: str, name: str, source: ConfigMapSource | SecretSource, mode: int, lookup: Lookup
) -> Files:
    content = lookup(kind, name)
    if content is None:
        if source.optional:
            return {}
        raise SourceMissing(f"{kind} {name!r} does not exist")
    items = source.items
    if source.optional and items is not None:
        # An optional source may also lack the keys.
        items = [item for item in items if item.key in content]
    own = mode if source.default_mode is None else source.default_mode
    return _project_keys(kind, name, content, items, own)


def _project_fields(source: DownwardSource, mode: int, facts: PodFacts) -> Files:
    own = mode if source.default_mode is None else source.default_mode
    files: Files = {}
    for item in source.items or ():
        if item.field_ref is None:
            raise SourceMissing(f"the file {item.path} comes from a source that the cluster does not know")
        value = read_field(facts, item.field_ref.field_path)
        files[item.path] = File(value.encode(), own if item.mode is None else item.mode)
    return files


def _project_part(part: Projection, mode: int, facts: PodFacts, lookup: Lookup, token_of: TokenOf) -> Files:
    if part.config_map is not None:
        return _project_object("ConfigMap", part.config_map.name, part.config_map, mode, lookup)
    if part.secret is not None:
        return _project_object("Secret", part.secret.name, part.secret, mode, lookup)
    if part.downward_api is not None:
        return _project_fields(part.downward_api, mode, facts)
    if part.service_account_token is not None:
        token = part.service_account_token
        return {token.path: File(token_of(token).encode(), mode)}
    raise SourceMissing("a part of a projected volume is of a kind that the cluster does not know")


def is_projected(volume: Volume) -> bool:
    """Whether a volume's files are made from objects."""
    return any((volume.config_map, volume.secret, volume.downward_api, volume.projected))


def tokens_of(volume: Volume) -> list[TokenSource]:
    """The tokens that a volume needs."""
    parts = (volume.projected.sources or ()) if volume.projected else ()
    return [part.service_account_token for part in parts if part.service_account_token]


def project(volume: Volume, facts: PodFacts, lookup: Lookup, token_of: TokenOf) -> Files:
    """The files of a volume. Raises SourceMissing where a required object or key does not exist."""
    if volume.config_map is not None:
        return _project_object("ConfigMap", volume.config_map.name, volume.config_map, _DEFAULT_MODE, lookup)
    if volume.secret is not None:
        return _project_object("Secret", volume.secret.secret_name, volume.secret, _DEFAULT_MODE, lookup)
    if volume.downward_api is not None:
        return _project_fields(volume.downward_api, _DEFAULT_MODE, facts)
    if volume.projected is None:
        raise SourceMissing(f"volume {volume.name!r} is of a kind that the cluster does not know")
    mode = _DEFAULT_MODE if volume.projected.default_mode is None else volume.projected.default_mode
    files: Files = {}
    for part in volume.projected.sources or ():
        files |= _project_part(part, mode, facts, lookup, token_of)
    return files
