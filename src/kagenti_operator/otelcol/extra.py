"""Pure: the part of the collector's configuration that its users bring, checked and merged over ours.

What is ours by name stays ours. A part whose structure is wrong, or that names what is not there, would keep
the collector from starting: it is left out, and the rest goes on.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

from kagenti_operator.otelcol.exporters import LEGACY_TYPES, MODERN_TYPES, modern_exporter_id, rename_type
from kagenti_operator.otelcol.layers import load_preset
from kagenti_operator.otelcol.model import Configuration, Pipeline
from kagenti_operator.verbatim_yaml import Scalar, VerbatimError, is_mapping_or_empty, read_verbatim

# Of all keys together. The ConfigMap that it is merged into holds 1 MiB at most, and is read by pods.
MAX_BYTES = 64 * 2**10
SUFFIX = ".yaml"

_SECTIONS = ("extensions", "receivers", "processors", "exporters", "connectors")
_IN_SERVICE = ("extensions", "pipelines", "telemetry")
_ROLES = ("receivers", "processors", "exporters")
_COMPONENT_ID = re.compile(r"[a-zA-Z][0-9a-zA-Z_]{0,62}(/\S+)?", re.ASCII)
_PIPELINE_ID = re.compile(r"(traces|metrics|logs|profiles)(/\S+)?", re.ASCII)


@dataclass(frozen=True)
class Fault:
    """What is wrong under a key of the users' ConfigMap, in words that go on from the key's name."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key} {self.text}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a key adds."""

    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict[str, Pipeline])
    telemetry: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extensions: tuple[str, ...] = ()

    def names(self) -> Iterator[tuple[str, str]]:
        """Everything that it defines, by section and id."""
        for section, components in self.components.items():
            yield from ((section, id_) for id_ in components)
        yield from (("pipelines", id_) for id_ in self.pipelines)
        yield from (("telemetry", name) for name in self.telemetry)

    def without(self, names: Collection[tuple[str, str]]) -> "Part":
        """The same part less these."""
        return replace(
            self,
            components={
                section: {id_: it for id_, it in components.items() if (section, id_) not in names}
                for section, components in self.components.items()
            },
            pipelines={id_: it for id_, it in self.pipelines.items() if ("pipelines", id_) not in names},
            telemetry={name: it for name, it in self.telemetry.items() if ("telemetry", name) not in names},
        )


@dataclass(frozen=True)
class Merged:
    """The whole configuration, and what was left out of it."""

    configuration: Configuration
    faults: tuple[Fault, ...] = ()


def merge_extra(ours: Configuration, data: Mapping[str, str]) -> Merged:
    """Merge the keys of the users' ConfigMap, in the order of their names, over a configuration."""
    parts, faults = _read_parts(tuple(sorted(data.items())))
    parts, more = _leave_ours(parts, ours)
    faults = [*faults, *more]
    while wrong := [Fault(key, text) for key, part in parts.items() if (text := _misses(part, parts, ours))]:
        # What is left out may be what another part needs.
        faults += wrong
        parts = {key: part for key, part in parts.items() if key not in {fault.key for fault in wrong}}
    known = _defined("exporters", parts, ours) | _defined("connectors", parts, ours)
    configuration = ours
    for part in parts.values():
        configuration = _lay_over(configuration, part, known)
    return Merged(configuration, tuple(sorted(faults, key=lambda fault: fault.key)))


@lru_cache(maxsize=2)
def _read_parts(data: tuple[tuple[str, str], ...]) -> tuple[dict[str, Part], tuple[Fault, ...]]:
    """The parts by key; read once for as long as the ConfigMap stays as it is."""
    parts: dict[str, Part] = {}
    faults: list[Fault] = []
    defined: dict[tuple[str, str], str] = {}
    size = 0
    for key, text in data:
        if not key.endswith(SUFFIX):
            if key.endswith(".yml"):
                faults.append(Fault(key, f"is not read: only keys that end in {SUFFIX} are"))
            continue
        size += len(text.encode())
        if size > MAX_BYTES:
            faults.append(Fault(key, f"is left out: all keys together may have {MAX_BYTES // 2**10} KiB"))
            continue
        try:
            part = read_part(text)
        except VerbatimError as error:
            faults.append(Fault(key, str(error)))
            continue
        if twice := next((name for name in part.names() if name in defined), None):
            section, id_ = twice
            faults.append(Fault(key, f"has {section} {id_}, which is in {defined[twice]} as well"))
            continue
        defined |= dict.fromkeys(part.names(), key)
        parts[key] = part
    return parts, tuple(faults)


def read_part(text: str) -> Part:
    """Read what a key holds. Raises VerbatimError."""
    document = read_verbatim(text) or {}
    _refuse_others("", document, (*_SECTIONS, "service"))
    components = {name: _components(name, document[name]) for name in _SECTIONS if name in document}
    service = _as_mapping("service", document.get("service"))
    _refuse_others("service.", service, _IN_SERVICE)
    pipelines = _as_mapping("service.pipelines", service.get("pipelines"))
    return Part(
        components=components,
        pipelines={id_: _pipeline(id_, it) for id_, it in pipelines.items()},
        telemetry=_as_mapping("service.telemetry", service.get("telemetry")),
        extensions=_ids("service.extensions", service.get("extensions")),
    )


def _refuse_others(prefix: str, found: Mapping[str, Any], allowed: Collection[str]) -> None:
    if other := next((name for name in found if name not in allowed), None):
        raise VerbatimError(f"has {prefix}{other}: allowed are {', '.join(allowed)}")


def _as_mapping(name: str, value: object) -> Mapping[str, Any]:
    if not is_mapping_or_empty(value):
        raise VerbatimError(f"has {name} that is no mapping")
    return cast("Mapping[str, Any]", value or {})


def _components(section: str, value: object) -> Mapping[str, Any]:
    components = _as_mapping(section, value)
    for id_, settings in components.items():
        if not _COMPONENT_ID.fullmatch(id_):
            raise VerbatimError(f"has {section} {id_!r}: a component is named type or type/name")
        _as_mapping(f"{section} {id_}", settings)
    return components


def _pipeline(id_: str, value: object) -> Pipeline:
    where = f"pipeline {id_}"
    if not _PIPELINE_ID.fullmatch(id_):
        raise VerbatimError(
            f"has {where}: a pipeline is named traces, metrics, logs or profiles, or one/name"
        )
    found = _as_mapping(where, value)
    _refuse_others(f"{where}: ", found, _ROLES)
    receivers, processors, exporters = (_ids(f"{where}: {role}", found.get(role)) for role in _ROLES)
    if not receivers or not exporters:
        raise VerbatimError(f"has {where} without receivers or without exporters")
    return Pipeline(receivers=receivers, processors=processors, exporters=exporters)


def _ids(name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(item, Scalar) for item in items):
        raise VerbatimError(f"has {name} that is no list of names")
    return tuple(str(item) for item in items)


def _leave_ours(parts: Mapping[str, Part], ours: Configuration) -> tuple[dict[str, Part], list[Fault]]:
    reserved = _reserved_names() | set(_names_of(ours))
    faults: list[Fault] = []
    kept: dict[str, Part] = {}
    for key, part in parts.items():
        taken = [name for name in part.names() if name in reserved]
        if taken:
            listed = ", ".join(f"{section} {id_}" for section, id_ in taken)
            faults.append(Fault(key, f"has {listed}, which the operator writes: name yours otherwise"))
        kept[key] = part.without(taken)
    return kept, faults


def _names_of(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for section in _SECTIONS:
        yield from ((section, id_) for id_ in getattr(configuration, section))
    yield from (("exporters", modern_exporter_id(id_)) for id_ in configuration.exporters)
    yield from (("pipelines", id_) for id_ in configuration.pipelines)


@cache
def _reserved_names() -> frozenset[tuple[str, str]]:
    """Ours in whatever is discovered: a part does not fall apart when Phoenix is installed."""
    folder = files("kagenti_operator.otelcol").joinpath("presets")
    presets = [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]
    return frozenset(name for preset in presets for name in _names_of(load_preset(preset)))


def _misses(part: Part, parts: Mapping[str, Part], ours: Configuration) -> str | None:
    """What the part refers to and nobody defines, in words; None where all is there."""
    if missing := next(
        (id_ for id_ in part.extensions if id_ not in _defined("extensions", parts, ours)), None
    ):
        return f"has service.extensions with {missing}, which is not defined"
    connectors = _defined("connectors", parts, ours)
    for id_, pipeline in part.pipelines.items():
        for role in _ROLES:
            known = _defined(role, parts, ours) | (connectors if role != "processors" else set[str]())
            for used in getattr(pipeline, role):
                renamed = _other_name(used, known) if role == "exporters" else None
                if used not in known and renamed is None:
                    return f"has pipeline {id_} with {used} in its {role}, which is not defined"
    return _half_connected(part, parts)


def _half_connected(part: Part, parts: Mapping[str, Part]) -> str | None:
    pipelines = [pipeline for other in parts.values() for pipeline in other.pipelines.values()]
    begins = {id_ for pipeline in pipelines for id_ in pipeline.receivers}
    ends = {id_ for pipeline in pipelines for id_ in pipeline.exporters}
    half = (id_ for id_ in part.components.get("connectors", {}) if (id_ in begins) != (id_ in ends))
    if id_ := next(half, None):
        return f"has connector {id_}, which needs a pipeline that ends with it and one that begins with it"
    return None


def _defined(section: str, parts: Mapping[str, Part], ours: Configuration) -> set[str]:
    theirs = (id_ for part in parts.values() for id_ in part.components.get(section, {}))
    return {*getattr(ours, section), *theirs}


def _other_name(id_: str, known: Collection[str]) -> str | None:
    """The name by which an exporter is known, which changes with the collector's version."""
    names = (rename_type(id_, MODERN_TYPES), rename_type(id_, LEGACY_TYPES))
    return next((name for name in names if name in known), None)


def _lay_over(configuration: Configuration, part: Part, known: Collection[str]) -> Configuration:
    """`known`: the ids that a pipeline's exporters may name."""

    def named(id_: str) -> str:
        return id_ if id_ in known else (_other_name(id_, known) or id_)

    pipelines = {
        id_: replace(pipeline, exporters=tuple(map(named, pipeline.exporters)))
        for id_, pipeline in part.pipelines.items()
    }
    return replace(
        configuration,
        pipelines={**configuration.pipelines, **pipelines},
        telemetry={**configuration.telemetry, **part.telemetry},
        **{
            section: {**getattr(configuration, section), **part.components.get(section, {})}
            for section in _SECTIONS
        },
    )
