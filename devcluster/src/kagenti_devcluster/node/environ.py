"""A container's environment, command and working directory, as the kubelet makes them. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kagenti_devcluster.node.images import Image
from kagenti_devcluster.node.models import Container, EnvFrom, EnvSource, EnvVar, Pod

# The shell's names, and dots and dashes as the API allows them.
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['([^']*)'\]$")

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    # The machine's home directories are visible but not ours to write to.
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
}

# The content of a ConfigMap or Secret by kind and name; None where there is no such object.
type Lookup = Callable[[str, str], Mapping[str, bytes] | None]


class SourceMissing(Exception):
    """Something that a container's environment or a volume comes from does not exist (yet)."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod's fields refer to besides its own object."""

    pod: Pod
    address: str
    node_name: str
    node_address: str


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as it is, and `$$` is an escaped dollar."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def read_field(facts: PodFacts, path: str) -> str:
    """The value of a field of the pod. Raises SourceMissing for one that cannot be read."""
    metadata, spec = facts.pod.metadata, facts.pod.spec
    if match := _SUBSCRIPT.match(path):
        return getattr(metadata, match[1]).get(match[2], "")
    fields = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
        "status.hostIP": facts.node_address,
        "status.hostIPs": facts.node_address,
    }
    for name, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        fields[f"metadata.{name}"] = "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    if path not in fields:
        raise SourceMissing(f"the pod's field {path} cannot be used in the cluster")
    return fields[path]


def _read_key(lookup: Lookup, kind: str, name: str, key: str, optional: bool) -> str | None:
    content = lookup(kind, name)
    if content is not None and key in content:
        return content[key].decode(errors="replace")
    if optional:
        return None
    what = f"{kind} {name!r} does not exist" if content is None else f"{kind} {name!r} has no key {key!r}"
    raise SourceMissing(what)


def _read_source(source: EnvSource, facts: PodFacts, lookup: Lookup) -> str | None:
    if source.field_ref is not None:
        return read_field(facts, source.field_ref.field_path)
    for kind, selector in (("ConfigMap", source.config_map_key_ref), ("Secret", source.secret_key_ref)):
        if selector is not None:
            return _read_key(lookup, kind, selector.name, selector.key, selector.optional)
    raise SourceMissing("a variable comes from a source that the cluster does not know")


def _read_all(sources: Sequence[EnvFrom], lookup: Lookup) -> dict[str, str]:
    values: dict[str, str] = {}
    for source in sources:
        for kind, ref in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if ref is None:
                continue
            content = lookup(kind, ref.name)
            if content is None and not ref.optional:
                raise SourceMissing(f"{kind} {ref.name!r} does not exist")
            for key, value in (content or {}).items():
                values[source.prefix + key] = value.decode(errors="replace")
    return values


def _add(values: dict[str, str], variable: EnvVar, facts: PodFacts, lookup: Lookup) -> None:
    if variable.value_from is None:
        values[variable.name] = expand(variable.value, values)
    elif (value := _read_source(variable.value_from, facts, lookup)) is not None:
        values[variable.name] = value


def build_environment(
    container: Container, image: Image, base: Mapping[str, str], facts: PodFacts, lookup: Lookup
) -> dict[str, str]:
    """The variables of a container, later sources over earlier ones: base, image, `envFrom`, `env`.

    Raises SourceMissing where something required does not exist.
    """
    values = {**BASE_ENVIRONMENT, **base, **image.env}
    values |= _read_all(container.env_from or (), lookup)
    for variable in container.env or ():
        _add(values, variable, facts, lookup)
    return values


def build_command(container: Container, image: Image, environment: Mapping[str, str]) -> list[str]:
    """What to execute: the image's entrypoint and arguments, or the pod's.

    `command` replaces both of the image's, `args` only its arguments
    (https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/).
    """
    if container.command:
        given = (*container.command, *(container.args or ()))
        return [expand(part, environment) for part in given]
    if container.args:
        return [*image.entrypoint, *(expand(part, environment) for part in container.args)]
    return [*image.entrypoint, *image.args]
