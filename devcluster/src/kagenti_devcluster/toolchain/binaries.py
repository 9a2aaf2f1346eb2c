"""Which real binaries the cluster and the tests run, and where they are on this machine.

A binary comes from the folder that `KUBEBUILDER_ASSETS` names, from PATH, or from the cache that
`make binaries` fills, in this order, and only in a version that fits the others. Only the standard library
is imported, because `tools/build.py` uses this table before anything is installed.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kagenti_devcluster.toolchain.cache import cache_dir, checkout, digest

type Version = tuple[int, int, int]


class BinaryMissing(Exception):
    """No suitable binary of that name is on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One binary: how it is built and what another build of it must bring to be used instead."""

    name: str
    # The Go package to build, and the module whose version is the binary's.
    package: str
    module: str
    oldest: Version
    version_command: tuple[str, ...] = ("--version",)
    # Linker variables that tell the binary its version: {version} is 1.2.3, {major} and {minor} its parts.
    stamp: tuple[str, ...] = ()
    # Other names under which the same program is known.
    aliases: tuple[str, ...] = ()


# Clients parse what the server says of itself, so a build without these is one that kubectl and helm refuse.
_KUBE_STAMP = (
    "k8s.io/component-base/version.gitVersion=v{version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
)

# In the order in which they are built: what others wait for first.
TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="etcd",
            package="go.etcd.io/etcd/server/v3",
            module="go.etcd.io/etcd/server/v3",
            # Older ones lack reliable progress notifications, and the API server then serves lists from etcd
            # (k8s.io/apiserver, pkg/storage/feature/feature_support_checker.go).
            oldest=(3, 5, 13),
        ),
        Tool(
            name="kube-apiserver",
            package="k8s.io/kubernetes/cmd/kube-apiserver",
            module="k8s.io/kubernetes",
            # MutatingAdmissionPolicy, which the cluster's OpenShift needs, is on and in v1 since 1.36.
            oldest=(1, 36, 0),
            stamp=_KUBE_STAMP,
        ),
        Tool(
            name="kubectl",
            package="k8s.io/kubernetes/cmd/kubectl",
            module="k8s.io/kubernetes",
            # What fits the oldest API server, as for the controller manager.
            oldest=(1, 35, 0),
            version_command=("version", "--client"),
            stamp=_KUBE_STAMP,
        ),
        Tool(
            name="kube-controller-manager",
            package="k8s.io/kubernetes/cmd/kube-controller-manager",
            module="k8s.io/kubernetes",
            oldest=(1, 35, 0),
            stamp=_KUBE_STAMP,
        ),
        Tool(
            name="helm",
            package="helm.sh/helm/v4/cmd/helm",
            module="helm.sh/helm/v4",
            # Before 3.18 it does not show what `helm test` says; up to 3.18.4 it has another library for the
            # chart's schema, with other words for what that refuses.
            oldest=(3, 18, 6),
            version_command=("version", "--short"),
            stamp=("helm.sh/helm/v4/internal/version.version=v{version}",),
        ),
        Tool(
            name="otelcol",
            package=".",
            module="go.opentelemetry.io/collector/otelcol",
            # From 0.152 on a renewed token is read again, as the tag of the cluster's collector promises.
            oldest=(0, 152, 0),
            aliases=("otelcol-contrib",),
        ),
        Tool(
            name="kube-score",
            package="github.com/zegl/kube-score/cmd/kube-score",
            module="github.com/zegl/kube-score",
            oldest=(1, 20, 0),
            version_command=("version",),
            stamp=("main.version={version}",),
        ),
        Tool(
            name="actionlint",
            package="github.com/rhysd/actionlint/cmd/actionlint",
            module="github.com/rhysd/actionlint",
            oldest=(1, 7, 12),
            version_command=("-version",),
        ),
        Tool(
            name="bundle-validate",
            package=".",
            module="github.com/operator-framework/api",
            oldest=(0, 37, 0),
        ),
    )
}

# One of each component that the operator's configurations use, but for oauth2client, which our own build
# lacks. A collector is asked to validate this, because older ones leave what has two names out of their list.
_COLLECTOR_PROBE = """\
receivers: {otlp: {protocols: {grpc: {}, http: {}}}}
processors:
  batch: {}
  filter: {}
  k8sattributes: {passthrough: true}
  memory_limiter: {check_interval: 1s, limit_mib: 64}
  transform: {}
connectors: {routing: {table: [{condition: "true", pipelines: [traces/out]}]}}
exporters:
  debug: {}
  otlp_grpc: {endpoint: "localhost:4317"}
  otlp_http: {endpoint: "http://localhost:4318"}
extensions:
  bearertokenauth: {token: probe}
  headers_setter: {headers: [{key: probe, value: probe}]}
  health_check: {}
  oidc: {issuer_url: "http://localhost", audience: probe}
service:
  extensions: [bearertokenauth, headers_setter, health_check, oidc]
  pipelines:
    traces: {receivers: [otlp], exporters: [routing]}
    traces/out:
      receivers: [routing]
      processors: [memory_limiter, k8sattributes, filter, transform, batch]
      exporters: [debug, otlp_grpc, otlp_http]
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A binary that fits: where it is and which version it is."""

    path: Path
    version: Version


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to: the binary, if any, and why others were passed over."""

    found: Found | None
    passed_over: tuple[str, ...]


def find(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the binary. Raises BinaryMissing, KeyError for a name that is not in TOOLS."""
    result = search(name, environ)
    if result.found is None:
        reasons = "".join(f"\n  passed over: {reason}" for reason in result.passed_over)
        raise BinaryMissing(f"no suitable {name} on this machine: run `make binaries`{reasons}")
    return result.found.path


def search(name: str, environ: Mapping[str, str] = os.environ) -> Search:
    """Look where `find` looks, and keep the reasons."""
    tool = TOOLS[name]
    passed_over: list[str] = []
    for path in _given(tool, environ):
        try:
            version = version_of(path, tool.version_command)
            problem = _misfit(tool, path, version, environ)
        except _Unusable as unusable:
            problem = str(unusable)
        else:
            if problem is None:
                return Search(Found(path, version), tuple(passed_over))
        passed_over.append(f"{path}: {problem}")
    own = built(tool, environ)
    return Search(own if own and own.path.is_file() else None, tuple(passed_over))


def built(tool: Tool, environ: Mapping[str, str] = os.environ) -> Found | None:
    """Return where the cache keeps this project's own build, which may not exist yet.

    In a checkout that is the one that fits `tools/`; an installed package takes the newest, None without any.
    """
    folder = cache_dir(environ) / "bin" / tool.name
    root = checkout()
    if root is not None:
        source = root / "tools" / tool.name
        version = pinned_version(tool, source)
        key = digest(inputs(source), *build_flags(tool, version))
        return Found(folder / f"{dotted(version)}-{key}" / tool.name, version)
    there = [path for path in folder.glob(f"*/{tool.name}") if _VERSION.match(path.parent.name)]
    if not there:
        return None
    newest = max(there, key=lambda path: path.stat().st_mtime)
    return Found(newest, parse_version(newest.parent.name))


def inputs(source: Path) -> list[Path]:
    """Return the files of a tool's folder that decide what is built."""
    files = [source / name for name in ("go.mod", "go.sum", "manifest.yaml", "main.go")]
    return [file for file in files if file.name.startswith("go.") or file.is_file()]


def pinned_version(tool: Tool, source: Path) -> Version:
    """Read the tool's version from its go.mod. Raises ValueError when the module is not required there."""
    text = (source / "go.mod").read_text()
    required = re.search(rf"^\s*(?:require )?{re.escape(tool.module)} (v\S+)", text, re.MULTILINE)
    if required is None:
        raise ValueError(f"{source / 'go.mod'} does not require {tool.module}")
    return parse_version(required[1])


def build_flags(tool: Tool, version: Version) -> list[str]:
    """Return the flags of `go build`; they are part of what the cache is keyed by."""
    major, minor, _ = version
    stamps = [item.format(version=dotted(version), major=major, minor=minor) for item in tool.stamp]
    return ["-trimpath", "-ldflags", " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])]


_VERSION = re.compile(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?")


def parse_version(text: str) -> Version:
    """Return the first version named in the text. Raises ValueError when there is none."""
    match = _VERSION.search(text)
    if match is None:
        raise ValueError(f"no version in {text!r}")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def dotted(version: Version) -> str:
    """Write a version as 1.2.3."""
    return ".".join(map(str, version))


class _Unusable(Exception):
    pass


@cache
def version_of(path: Path, command: tuple[str, ...]) -> Version:
    """Ask the binary itself: what is on PATH may be a wrapper that runs yet another version."""
    try:
        return parse_version(_output(path, command))
    except ValueError as unreadable:
        raise _Unusable(f"`{path.name} {command[0]}` tells no version") from unreadable


def version_at(path: Path, command: tuple[str, ...]) -> Version:
    """The version of a program, 0.0.0 where it does not run or tells none."""
    try:
        return version_of(path, command)
    except _Unusable:
        return (0, 0, 0)


def _output(path: Path, arguments: tuple[str, ...]) -> str:
    said = f"`{path.name} {arguments[0]}`"
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as failure:
        raise _Unusable(f"{said} fails: {failure}") from failure
    if done.returncode:
        raise _Unusable(f"{said} fails: {done.stderr.strip()[:300]}")
    return done.stdout


def _given(tool: Tool, environ: Mapping[str, str]) -> Iterator[Path]:
    assets = environ.get("KUBEBUILDER_ASSETS", "")
    folders = [assets, *environ.get("PATH", "").split(os.pathsep)]
    # One folder may be there under two names, such as /bin and /usr/bin.
    real = dict.fromkeys(Path(folder).resolve() for folder in folders if folder)
    for folder in real:
        for name in (tool.name, *tool.aliases):
            path = folder / name
            if path.is_file() and os.access(path, os.X_OK):
                yield path


def _misfit(tool: Tool, path: Path, version: Version, environ: Mapping[str, str]) -> str | None:
    """Say why this binary cannot be used, None when it can.

    The skew between Kubernetes binaries is https://kubernetes.io/releases/version-skew-policy/.
    """
    if version < tool.oldest:
        return f"version {dotted(version)} is older than {dotted(tool.oldest)}"
    match tool.name:
        case "kube-apiserver":
            return _no_controller_manager_for(path, version, environ)
        case "kube-controller-manager":
            server = search("kube-apiserver", environ).found
            if server and not _manages(version, server.version):
                return f"version {dotted(version)} does not fit kube-apiserver {dotted(server.version)}"
        case "kubectl":
            server = search("kube-apiserver", environ).found
            if server and abs(version[1] - server.version[1]) > 1:
                return f"version {dotted(version)} does not fit kube-apiserver {dotted(server.version)}"
        case "otelcol":
            _output(path, ("validate", f"--config=yaml:{_COLLECTOR_PROBE}"))
        case _:
            pass
    return None


def _manages(manager: Version, server: Version) -> bool:
    return manager[:2] in {server[:2], (server[0], server[1] - 1)}


def _no_controller_manager_for(path: Path, version: Version, environ: Mapping[str, str]) -> str | None:
    """An API server is of use only with a controller manager that fits: the one beside it, or our own."""
    tool = TOOLS["kube-controller-manager"]
    beside = path.with_name(tool.name)
    own = built(tool, environ)
    if beside.is_file() and _manages(version_of(beside, tool.version_command), version):
        return None
    if own and _manages(own.version, version):
        return None
    return (
        f"no kube-controller-manager fits version {dotted(version)}: only the same or the previous minor does"
    )
