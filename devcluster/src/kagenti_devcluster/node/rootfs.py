"""Plans the file system that a container sees: the machine's own, read-only, with the pod's volumes in it.

The root is a fresh tmpfs into which the machine's top-level directories are bound. A mount point that does
not exist on the machine needs a directory that we may write to, so each directory on the way to it is made
anew in the tmpfs and its entries are bound one by one. Pure: looks at the machine through `HostFiles`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from kagenti_devcluster.errors import DevClusterError

type Kind = Literal["dir", "file", "link"]
# What `kagenti_devcluster.process.container` carries out, in order: ["dir", path], ["file", path],
# ["link", path, target], ["tmpfs", path, mode], ["bind", path, source] and ["bind-ro", path, source].
type Step = list[str]

_MAX_LINKS = 40
# Process 1 of the container mounts it: only there is the right pid namespace known.
_PROC = "/proc"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
# The machine's own sockets, locks and temporary files are none of a pod's business.
_PRIVATE = ("/tmp", "/run", "/var/tmp", "/dev", "/dev/shm")


@dataclass(frozen=True, slots=True)
class Mount:
    """Something shown at an absolute path of the container; without a source it is a fresh tmpfs."""

    path: str
    source: str | None = None
    kind: Literal["dir", "file"] = "dir"
    read_only: bool = False


# Opening a device with O_CREAT, as a shell's `>/dev/null` does, is refused to others than its owner where
# everybody may write (kernel: may_create_in_sticky, fs/namei.c).
_MODES = {"/dev": "755"}


class HostFiles(Protocol):
    """What planning needs to know of the machine."""

    def kind(self, path: str) -> Kind | None:
        """What is there, not following a link; None for nothing."""
        ...

    def readlink(self, path: str) -> str:
        """Where a link points to."""
        ...

    def entries(self, path: str) -> list[str]:
        """The names in a directory."""
        ...


class Machine:
    """This machine's files."""

    def kind(self, path: str) -> Kind | None:
        """What is there, not following a link; None for nothing."""
        candidate = Path(path)
        if candidate.is_symlink():
            return "link"
        if candidate.is_dir():
            return "dir"
        return "file" if candidate.exists() else None

    def readlink(self, path: str) -> str:
        """Where a link points to."""
        return str(Path(path).readlink())

    def entries(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(entry.name for entry in Path(path).iterdir())


@dataclass
class _Node:
    """A directory of the plan, or a mount point."""

    mount: Mount | None = None
    children: dict[str, "_Node"] = field(default_factory=dict[str, "_Node"])


def resolve(host: HostFiles, path: str, mounted: Iterable[str]) -> str:
    """Follow the machine's links, up to the first mount point: what is below one is not the machine's.

    Raises DevClusterError on a circle of links.
    """
    stops = set(mounted)
    waiting = list(PurePosixPath(path).parts[1:])
    current = PurePosixPath("/")
    links = 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            current = current.parent
            continue
        candidate = current / part
        if str(candidate) in stops:
            return str(candidate.joinpath(*waiting))
        if host.kind(str(candidate)) == "link":
            links += 1
            if links > _MAX_LINKS:
                raise DevClusterError(f"{path}: too many symbolic links")
            target = PurePosixPath(host.readlink(str(candidate)))
            if target.is_absolute():
                current = PurePosixPath("/")
            waiting = [*target.parts[1 if target.is_absolute() else 0 :], *waiting]
            continue
        current = candidate
    return str(current)


def _build_tree(host: HostFiles, mounts: Sequence[Mount]) -> _Node:
    root = _Node()
    mounted: set[str] = set()
    # Outer mount points first: what lies below one of them is looked up inside it.
    for mount in sorted(mounts, key=lambda m: len(PurePosixPath(m.path).parts)):
        path = resolve(host, mount.path, mounted)
        node = root
        for part in PurePosixPath(path).parts[1:]:
            node = node.children.setdefault(part, _Node())
        node.mount = mount
        mounted.add(path)
    return root


def _exists_for(host: HostFiles, path: str, node: _Node) -> bool:
    """Whether the machine has every mount point at and below this one."""
    if node.mount is not None:
        # Points further in lie on that mount, and are made there.
        return host.kind(path) == node.mount.kind
    if host.kind(path) != "dir":
        return False
    return all(_exists_for(host, f"{path}/{name}", child) for name, child in node.children.items())


def _bind_entry(host: HostFiles, path: str) -> list[Step]:
    match host.kind(path):
        case "link":
            return [["link", path, host.readlink(path)]]
        case "dir":
            return [["dir", path], ["bind-ro", path, path]]
        case "file":
            return [["file", path], ["bind-ro", path, path]]
        case None:
            return []


def _plan_below(path: str, node: _Node) -> list[Step]:
    """Steps for mount points whose parents exist by now."""
    steps: list[Step] = []
    if node.mount is not None:
        mount = node.mount
        steps.append([mount.kind, path])
        if mount.source is None:
            steps.append(["tmpfs", path, _MODES.get(path, "1777")])
        else:
            steps.append(["bind-ro" if mount.read_only else "bind", path, mount.source])
    for name, child in node.children.items():
        steps += _plan_below(f"{path}/{name}", child)
    return steps


def _plan_node(host: HostFiles, path: str, node: _Node) -> list[Step]:
    if node.mount is not None or host.kind(path) is None:
        return _plan_below(path, node)
    if _exists_for(host, path, node):
        return [*_bind_entry(host, path), *_plan_below(path, node)]
    return [["dir", path], *_plan_replica(host, path, node)]


def _plan_replica(host: HostFiles, path: str, node: _Node) -> list[Step]:
    """Steps that make a directory anew, with the machine's entries and ours."""
    prefix = path.rstrip("/")
    steps: list[Step] = []
    for name in host.entries(path):
        entry = f"{prefix}/{name}"
        if name not in node.children and entry != _PROC:
            steps += _bind_entry(host, entry)
    for name, child in node.children.items():
        steps += _plan_node(host, f"{prefix}/{name}", child)
    return steps


def _plan_devices() -> list[Step]:
    steps: list[Step] = []
    for name in _DEVICES:
        steps += [["file", f"/dev/{name}"], ["bind", f"/dev/{name}", f"/dev/{name}"]]
    return steps + [["link", f"/dev/{name}", target] for name, target in _DEVICE_LINKS.items()]


def _is_in(path: str | PurePosixPath, directories: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(directory) for directory in directories)


def _find_hidden(host: HostFiles, visible: Iterable[str], private: Sequence[str]) -> list[Mount]:
    """Mounts for what pods need and what lies where a pod has its own directory."""
    wanted = {PurePosixPath(path) for path in visible}
    hidden = sorted(path for path in wanted if _is_in(path, private))
    outermost = [p for p in hidden if not any(q != p and p.is_relative_to(q) for q in hidden)]
    mounts: list[Mount] = []
    for path in map(str, outermost):
        kind = host.kind(path)
        if kind in {"dir", "file"} and path not in private:
            mounts.append(Mount(path, path, "dir" if kind == "dir" else "file", read_only=True))
    return mounts


def plan_root(
    host: HostFiles, mounts: Sequence[Mount], visible: Iterable[str] = (), hidden: Iterable[str] = ()
) -> list[Step]:
    """The steps that assemble a container's root, in order; paths are those inside.

    `visible` are files and directories of the machine that must stay visible wherever they lie, `hidden` are
    directories that look empty. Raises DevClusterError on links that cannot be followed.
    """
    shown = list(visible)
    # What lies in a private directory is not seen anyway, unless something around it is to be.
    emptied = [path for path in hidden if _is_in(path, shown) or not _is_in(path, _PRIVATE)]
    private = [path for path in (*_PRIVATE, *emptied) if host.kind(path) == "dir"]
    own = [Mount(path) for path in private]
    given = {mount.path for mount in mounts}
    everything = [m for m in (*own, *_find_hidden(host, shown, private)) if m.path not in given]
    tree = _build_tree(host, [*everything, *mounts])
    steps = [["dir", _PROC], *_plan_replica(host, "/", tree)]
    return [*steps, *_plan_devices()]
