"""Which of the binaries on a machine is used, told with small scripts that answer as the real ones do."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from kagenti_devcluster.toolchain import binaries, cache
from kagenti_devcluster.toolchain.binaries import TOOLS, BinaryMissing


def put_binary(folder: Path, name: str, says: str, *, exit_code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {shlex.quote(says)}\necho {shlex.quote(says)} >&2\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user with an empty cache and nothing of interest on PATH."""
    return {"KAGENTI_CACHE_DIR": str(tmp_path / "cache"), "PATH": str(tmp_path / "path")}


def fill_cache(name: str, environ: Mapping[str, str]) -> Path:
    own = binaries.built(TOOLS[name], environ)
    assert own is not None
    return put_binary(own.path.parent, name, "from the cache")


def test_a_binary_that_fits_is_taken_from_path(tmp_path: Path, environ: dict[str, str]) -> None:
    etcd = put_binary(tmp_path / "path", "etcd", "etcd Version: 3.5.21")
    assert binaries.find("etcd", environ) == etcd


def test_the_folder_named_by_the_user_comes_before_path(tmp_path: Path, environ: dict[str, str]) -> None:
    put_binary(tmp_path / "path", "etcd", "etcd Version: 3.6.0")
    etcd = put_binary(tmp_path / "assets", "etcd", "etcd Version: 3.5.21")
    assert binaries.find("etcd", environ | {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")}) == etcd


def test_what_is_on_path_comes_before_the_cache(tmp_path: Path, environ: dict[str, str]) -> None:
    fill_cache("etcd", environ)
    etcd = put_binary(tmp_path / "path", "etcd", "etcd Version: 3.6.0")
    assert binaries.find("etcd", environ) == etcd


def test_a_wrapper_of_an_old_version_is_passed_over(tmp_path: Path, environ: dict[str, str]) -> None:
    own = fill_cache("kubectl", environ)
    wrapper = put_binary(tmp_path / "path", "kubectl", "Client Version: v1.34.4-dispatcher")
    result = binaries.search("kubectl", environ)
    assert result.found is not None
    assert result.found.path == own
    assert result.passed_over == (f"{wrapper}: version 1.34.4 is older than 1.35.0",)


@pytest.mark.parametrize(
    ("name", "says", "oldest"),
    [
        ("kube-apiserver", "Kubernetes v1.35.9", "1.36.0"),
        ("helm", "v3.18.4+gd80839c", "3.18.6"),
    ],
)
def test_a_version_that_lacks_what_is_needed_is_passed_over(
    tmp_path: Path, environ: dict[str, str], name: str, says: str, oldest: str
) -> None:
    put_binary(tmp_path / "path", name, says)
    with pytest.raises(BinaryMissing, match=rf"version [\d.]+ is older than {oldest}"):
        binaries.find(name, environ)


def test_a_binary_that_does_not_run_is_passed_over(tmp_path: Path, environ: dict[str, str]) -> None:
    put_binary(tmp_path / "path", "etcd", "cannot load shared library", exit_code=127)
    with pytest.raises(BinaryMissing, match="`etcd --version` fails: cannot load shared library"):
        binaries.find("etcd", environ)


def test_a_binary_that_prints_no_version_is_passed_over(tmp_path: Path, environ: dict[str, str]) -> None:
    put_binary(tmp_path / "path", "helm", "hello")
    with pytest.raises(BinaryMissing, match="`helm version` tells no version"):
        binaries.find("helm", environ)


def test_a_missing_binary_says_how_to_get_it(environ: dict[str, str]) -> None:
    with pytest.raises(BinaryMissing, match=r"^no suitable otelcol on this machine: run `make binaries`$"):
        binaries.find("otelcol", environ)


def test_an_api_server_without_a_fitting_controller_manager_is_passed_over(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    put_binary(tmp_path / "path", "kube-apiserver", "Kubernetes v1.99.1")
    with pytest.raises(BinaryMissing, match=r"no kube-controller-manager fits version 1\.99\.1"):
        binaries.find("kube-apiserver", environ)


def test_an_older_pair_is_used_together(tmp_path: Path, environ: dict[str, str]) -> None:
    fill_cache("kube-apiserver", environ)
    fill_cache("kube-controller-manager", environ)
    server = put_binary(tmp_path / "path", "kube-apiserver", "Kubernetes v1.36.1")
    manager = put_binary(tmp_path / "path", "kube-controller-manager", "Kubernetes v1.35.6")
    assert binaries.find("kube-apiserver", environ) == server
    assert binaries.find("kube-controller-manager", environ) == manager


def test_a_controller_manager_newer_than_the_api_server_is_passed_over(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    own = fill_cache("kube-controller-manager", environ)
    fill_cache("kube-apiserver", environ)
    put_binary(tmp_path / "path", "kube-controller-manager", "Kubernetes v1.99.0")
    assert binaries.find("kube-controller-manager", environ) == own


def test_kubectl_may_be_one_minor_off(tmp_path: Path, environ: dict[str, str]) -> None:
    server = fill_cache("kube-apiserver", environ)
    own = binaries.search("kube-apiserver", environ).found
    assert own is not None
    assert own.path == server
    near = put_binary(tmp_path / "path", "kubectl", f"Client Version: v1.{own.version[1] + 1}.0")
    far = put_binary(tmp_path / "far", "kubectl", f"Client Version: v1.{own.version[1] + 2}.0")
    assert binaries.find("kubectl", environ) == near
    with pytest.raises(BinaryMissing, match="does not fit kube-apiserver"):
        binaries.find("kubectl", environ | {"PATH": str(far.parent)})


def test_a_collector_must_know_every_component(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "path"
    folder.mkdir()
    collector = folder / "otelcol-contrib"
    collector.write_text(
        "#!/bin/sh\n"
        "[ $1 = --version ] && echo otelcol-contrib version 0.152.0 && exit\n"
        'echo "\'processors\' unknown type: \\"k8sattributes\\"" >&2; exit 1\n'
    )
    collector.chmod(0o755)
    with pytest.raises(BinaryMissing, match=r"`otelcol-contrib validate` fails: .*k8sattributes"):
        binaries.find("otelcol", environ)


def test_a_collector_under_another_name_is_used(tmp_path: Path, environ: dict[str, str]) -> None:
    contrib = put_binary(tmp_path / "path", "otelcol-contrib", "otelcol-contrib version 0.152.0")
    assert binaries.find("otelcol", environ) == contrib


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_is_pinned_and_kept_by_version(name: str, environ: dict[str, str]) -> None:
    own = binaries.built(TOOLS[name], environ)
    assert own is not None
    version, _, key = own.path.parent.name.partition("-")
    assert version == binaries.dotted(own.version)
    assert len(key) == 12
    assert own.version >= TOOLS[name].oldest


def test_the_control_plane_is_of_one_version(environ: dict[str, str]) -> None:
    versions = {
        own.version
        for name in ("kube-apiserver", "kube-controller-manager", "kubectl")
        if (own := binaries.built(TOOLS[name], environ))
    }
    assert len(versions) == 1


def test_the_binaries_are_built_with_their_version() -> None:
    assert binaries.build_flags(TOOLS["kubectl"], (1, 37, 2)) == [
        "-trimpath",
        "-ldflags",
        "-s -w"
        " -X k8s.io/component-base/version.gitVersion=v1.37.2"
        " -X k8s.io/component-base/version.gitMajor=1"
        " -X k8s.io/component-base/version.gitMinor=37",
    ]


def test_another_lock_file_is_another_build(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "tools" / "etcd"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module x\n\nrequire go.etcd.io/etcd/server/v3 v3.6.8\n")
    (source / "go.sum").write_text("one\n")
    monkeypatch.setattr(binaries, "checkout", lambda: tmp_path)
    first = fill_cache("etcd", environ)
    assert binaries.find("etcd", environ) == first
    (source / "go.sum").write_text("two\n")
    with pytest.raises(BinaryMissing):
        binaries.find("etcd", environ)


def test_an_installed_package_takes_the_newest_build(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fill_cache("etcd", environ)
    monkeypatch.setattr(binaries, "checkout", lambda: None)
    assert binaries.find("etcd", environ) == own
    with pytest.raises(BinaryMissing):
        binaries.find("helm", environ)


def test_the_cache_is_the_users(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert cache.cache_dir(home) == tmp_path / ".cache" / "kagenti-operator"
    assert (
        cache.cache_dir(home | {"XDG_CACHE_HOME": str(tmp_path / "x")}) == tmp_path / "x" / "kagenti-operator"
    )
    assert cache.cache_dir(home | {"KAGENTI_CACHE_DIR": str(tmp_path / "own")}) == tmp_path / "own"
