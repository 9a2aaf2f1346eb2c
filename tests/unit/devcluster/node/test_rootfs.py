"""How a container's root is put together."""

import pytest

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.node.rootfs import Kind, Mount, Step, plan_root


class Files:
    """A machine made of a mapping: None is a directory, an empty text a file, other texts are links."""

    def __init__(self, **more: str | None) -> None:
        self._files: dict[str, str | None] = {
            "/": None,
            "/bin": "usr/bin",
            "/dev": None,
            "/dev/shm": None,
            "/etc": None,
            "/etc/hosts": "",
            "/etc/passwd": "",
            "/etc/mtab": "/proc/self/mounts",
            "/etc/ssl": None,
            "/etc/ssl/cert.pem": "",
            "/opt": None,
            "/proc": None,
            "/run": None,
            "/tmp": None,
            "/usr": None,
            "/var": None,
            "/var/run": "/run",
            "/var/tmp": None,
            **{f"/{name.replace('__', '/')}": value for name, value in more.items()},
        }

    def kind(self, path: str) -> Kind | None:
        if path not in self._files:
            return None
        match self._files[path]:
            case None:
                return "dir"
            case "":
                return "file"
            case _:
                return "link"

    def readlink(self, path: str) -> str:
        return self._files[path] or ""

    def entries(self, path: str) -> list[str]:
        start = path.rstrip("/") + "/"
        inside = (p[len(start) :] for p in self._files if p.startswith(start) and p != start)
        return sorted(name for name in inside if "/" not in name)


def steps_at(steps: list[Step], path: str) -> list[Step]:
    return [step for step in steps if step[1] == path]


def test_the_machine_is_shown_read_only_and_its_links_stay_links() -> None:
    steps = plan_root(Files(), [])
    assert steps_at(steps, "/usr") == [["dir", "/usr"], ["bind-ro", "/usr", "/usr"]]
    assert steps_at(steps, "/bin") == [["link", "/bin", "usr/bin"]]
    assert not any(step[0] == "bind-ro" and step[1] == "/proc" for step in steps)


def test_temporary_files_and_sockets_are_the_containers_own() -> None:
    steps = plan_root(Files(), [])
    for path in ("/tmp", "/run", "/var/tmp", "/dev/shm"):
        assert ["tmpfs", path, "1777"] in steps
    # A sticky directory that everybody may write to would keep us from opening the devices in it.
    assert ["tmpfs", "/dev", "755"] in steps
    # /var exists with everything in it, so it needs no copy of its own.
    assert steps.index(["bind-ro", "/var", "/var"]) < steps.index(["tmpfs", "/var/tmp", "1777"])
    assert ["bind", "/dev/null", "/dev/null"] in steps


def test_a_mount_point_that_exists_is_mounted_on() -> None:
    steps = plan_root(Files(), [Mount("/etc/hosts", "/state/hosts", "file")])
    assert steps_at(steps, "/etc") == [["dir", "/etc"], ["bind-ro", "/etc", "/etc"]]
    assert steps_at(steps, "/etc/hosts") == [
        ["file", "/etc/hosts"],
        ["bind", "/etc/hosts", "/state/hosts"],
    ]


def test_a_directory_is_made_anew_where_a_mount_point_is_missing_in_it() -> None:
    steps = plan_root(Files(), [Mount("/etc/pki/ca.pem", "/state/ca", "file", read_only=True)])
    assert steps_at(steps, "/etc") == [["dir", "/etc"]]
    assert ["bind-ro", "/etc/passwd", "/etc/passwd"] in steps
    assert ["bind-ro", "/etc/ssl", "/etc/ssl"] in steps
    assert ["link", "/etc/mtab", "/proc/self/mounts"] in steps
    assert ["bind-ro", "/etc/pki/ca.pem", "/state/ca"] in steps
    # Only the directories on the way.
    assert not steps_at(steps, "/etc/ssl/cert.pem")


def test_a_new_top_level_directory_needs_nothing_else() -> None:
    steps = plan_root(Files(), [Mount("/mlflow", "/state/disk")])
    assert steps_at(steps, "/mlflow") == [["dir", "/mlflow"], ["bind", "/mlflow", "/state/disk"]]


def test_the_machines_links_are_followed_to_the_mount_point() -> None:
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    steps = plan_root(Files(), [Mount(account, "/state/token", read_only=True)])
    where = "/run/secrets/kubernetes.io/serviceaccount"
    assert steps_at(steps, where) == [["dir", where], ["bind-ro", where, "/state/token"]]
    assert steps.index(["tmpfs", "/run", "1777"]) < steps.index(["dir", where])


def test_a_file_that_is_a_link_into_a_private_directory_appears_there() -> None:
    files = Files(etc__resolv_conf="../run/resolve/stub.conf")
    steps = plan_root(files, [Mount("/etc/resolv_conf", "/state/resolv", "file")])
    assert ["bind", "/run/resolve/stub.conf", "/state/resolv"] in steps
    assert ["bind-ro", "/etc", "/etc"] in steps


def test_mounts_in_mounts_come_after_them() -> None:
    inner, outer = Mount("/data/keys", "/state/keys"), Mount("/data", "/state/data")
    steps = plan_root(Files(), [inner, outer])
    assert steps.index(["bind", "/data", "/state/data"]) < steps.index(["bind", "/data/keys", "/state/keys"])


def test_what_has_to_stay_visible_does_even_in_a_private_directory() -> None:
    files = Files(tmp__venv=None, tmp__tool="", opt__cache=None)
    steps = plan_root(files, [], ["/tmp/venv/", "/tmp/venv/lib", "/tmp/tool", "/opt/cache", "/tmp/absent"])
    assert ["bind-ro", "/tmp/venv", "/tmp/venv"] in steps
    assert steps_at(steps, "/tmp/tool") == [["file", "/tmp/tool"], ["bind-ro", "/tmp/tool", "/tmp/tool"]]
    assert not steps_at(steps, "/tmp/venv/lib")
    assert not steps_at(steps, "/tmp/absent")
    # It is visible with everything around it.
    assert not steps_at(steps, "/opt/cache")


def test_a_volume_over_a_private_directory_takes_its_place() -> None:
    steps = plan_root(Files(), [Mount("/tmp", "/state/tmp")])
    assert steps_at(steps, "/tmp") == [["dir", "/tmp"], ["bind", "/tmp", "/state/tmp"]]


def test_what_has_to_stay_visible_does_in_a_volume_over_a_private_directory_too() -> None:
    steps = plan_root(Files(tmp__work=None), [Mount("/tmp", "/state/tmp")], visible=["/tmp/work"])
    volume, shown = ["bind", "/tmp", "/state/tmp"], ["bind-ro", "/tmp/work", "/tmp/work"]
    assert steps.index(volume) < steps.index(["dir", "/tmp/work"]) < steps.index(shown)


def test_links_that_go_round_in_a_circle_are_reported() -> None:
    files = Files(a="/b", b="/a")
    with pytest.raises(DevClusterError, match="/a/x: too many symbolic links"):
        plan_root(files, [Mount("/a/x", "/state/x")])


def test_a_hidden_directory_is_empty_but_for_what_must_stay_visible() -> None:
    files = Files(home=None, home__state=None, home__state__kubeconfig="", home__state__bin=None)
    steps = plan_root(files, [], visible=["/home/state/bin"], hidden=["/home/state"])
    assert steps.index(["bind-ro", "/home", "/home"]) < steps.index(["tmpfs", "/home/state", "1777"])
    assert steps_at(steps, "/home/state/bin")[-1] == ["bind-ro", "/home/state/bin", "/home/state/bin"]
    assert not steps_at(steps, "/home/state/kubeconfig")


def test_a_hidden_directory_in_a_private_one_leaves_no_trace() -> None:
    files = Files(tmp__state=None, tmp__work=None, tmp__work__state=None)
    assert not steps_at(plan_root(files, [], hidden=["/tmp/state"]), "/tmp/state")
    steps = plan_root(files, [], visible=["/tmp/work"], hidden=["/tmp/work/state"])
    shown, emptied = ["bind-ro", "/tmp/work", "/tmp/work"], ["tmpfs", "/tmp/work/state", "1777"]
    assert steps.index(shown) < steps.index(emptied)
