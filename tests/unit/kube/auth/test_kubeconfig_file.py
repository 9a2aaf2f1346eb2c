"""Which entries of kubeconfig files count, and what is said of files that are none."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.kube.auth.kubeconfig_file import Kubeconfig
from kagenti_operator.kube.errors import ConfigError


def config(**entries: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "main",
        "clusters": [{"name": "here", "cluster": {"server": "https://here"}}],
        "contexts": [{"name": "main", "context": {"cluster": "here", "user": "me", "namespace": "team1"}}],
        "users": [{"name": "me", "user": {"token": "mine"}}],
        **entries,
    }


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_current_context_names_cluster_user_and_namespace(tmp_path: Path) -> None:
    context = Kubeconfig([write(tmp_path / "config", config())]).current_context()
    assert (context.name, context.namespace) == ("main", "team1")
    assert (context.cluster.server, context.user.token) == ("https://here", "mine")


def test_what_is_null_or_left_out_is_not_there(tmp_path: Path) -> None:
    user = {"token": None, "as-groups": None, "exec": None}
    contexts = [{"name": "main", "context": {"cluster": "here", "user": "me"}}]
    path = write(tmp_path / "config", config(contexts=contexts, users=[{"name": "me", "user": user}]))
    context = Kubeconfig([path]).current_context()
    assert context.namespace == "default"
    assert context.user.token is None


def test_a_context_without_a_user_is_nobodys(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config(contexts=[{"name": "main", "context": {"cluster": "here"}}]))
    assert Kubeconfig([path]).current_context().user.token is None


def test_of_several_files_the_first_that_has_an_entry_gives_it_whole(tmp_path: Path) -> None:
    first = {"contexts": [], "users": [{"name": "me", "user": {"tokenFile": "token"}}], "clusters": None}
    paths = [write(tmp_path / "one" / "config", first), write(tmp_path / "two" / "config", config())]
    context = Kubeconfig(paths).current_context()
    assert context.cluster.server == "https://here"
    assert context.user.token is None
    assert context.user.token_file == str(tmp_path / "one" / "token")
    other = config(clusters=[{"name": "here", "cluster": {"server": "https://other"}}])
    paths.insert(0, write(tmp_path / "three", {**other, "current-context": "main"}))
    assert Kubeconfig(paths).current_context().cluster.server == "https://other"


def test_an_empty_file_beside_others_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    context = Kubeconfig([tmp_path / "empty", write(tmp_path / "config", config())]).current_context()
    assert context.name == "main"


def test_paths_are_relative_to_their_file_wherever_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {
        "client-certificate": "tls/me.crt",
        "client-key": "/keys/me.key",
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login"},
    }
    cluster = {"server": "https://here", "certificate-authority": "../ca.crt"}
    write(
        tmp_path / "config",
        config(users=[{"name": "me", "user": user}], clusters=[{"name": "here", "cluster": cluster}]),
    )
    monkeypatch.chdir(tmp_path)
    context = Kubeconfig([Path("config")]).current_context()
    assert context.cluster.certificate_authority == str(tmp_path / "../ca.crt")
    assert context.user.client_certificate == str(tmp_path / "tls/me.crt")
    assert context.user.client_key == "/keys/me.key"
    assert context.user.exec is not None
    assert context.user.exec.command == str(tmp_path / "login")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "Expected `object`, got `array`"),
        ("text", "Expected `object`, got `str`"),
        ({"clusters": 3}, r"Expected `array \| null`, got `str` - at `\$.clusters`"),
        ({"clusters": [3]}, r"Expected `object`, got `str` - at `\$.clusters\[0\]`"),
        ({"users": [{"user": None}]}, r"missing required field `name` - at `\$.users\[0\]`"),
        ({"current-context": ["main"]}, r"Expected `str \| null`, got `array` - at `\$.current-context`"),
        ({"kind": "Pod"}, "Invalid enum value 'Pod'"),
        (config(users=[{"name": "me"}, {"name": "me"}]), "two entries for the user 'me'"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: object, problem: str) -> None:
    path = write(tmp_path / "config", content)
    with pytest.raises(ConfigError, match=f"^kubeconfig {path}: .*{problem}"):
        Kubeconfig([path])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"]", "line 1: "),
        (b"\xff", "it is not text"),
        (b"a: " + b"x" * (2 << 20), "it is larger than 1 MiB"),
        (b"a: &a [x]\nb: *a", "line 2: aliases are not supported"),
    ],
)
def test_a_file_that_is_not_even_yaml_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^kubeconfig {path}: {problem}"):
        Kubeconfig([path])


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^kubeconfig {tmp_path}: .*Is a directory"):
        Kubeconfig([tmp_path])


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"current-context": ""}, "it has no current-context; choose one"),
        ({"current-context": "other"}, "no entry for the context 'other'"),
        ({"contexts": [{"name": "main"}]}, "context 'main' names no cluster"),
        ({"clusters": None}, "no entry for the cluster 'here'"),
        ({"users": []}, "no entry for the user 'me'"),
        ({"users": [{"name": "me", "user": "mine"}]}, "user 'me' cannot be used: Expected `object`"),
        ({"users": [{"name": "me", "user": {"token": True}}]}, r"user 'me' .* got `bool` - at `\$.token`"),
        ({"users": [{"name": "me", "user": {"tokn": "x"}}]}, "user 'me' .* unknown field `tokn`"),
        ({"users": [{"name": "me", "user": {"as-groups": "admins"}}]}, r"got `str` - at `\$.as-groups`"),
        ({"users": [{"name": "me", "user": {"exec": {"command": "x"}}}]}, "required field `apiVersion`"),
        ({"clusters": [{"name": "here", "cluster": {"tls-servername": "x"}}]}, "field `tls-servername`"),
        (
            {"clusters": [{"name": "here", "cluster": {"insecure-skip-tls-verify": "true"}}]},
            r"cluster 'here' .* got `str` - at `\$.insecure-skip-tls-verify`",
        ),
    ],
)
def test_what_the_current_context_lacks_is_reported(
    tmp_path: Path, entries: dict[str, Any], problem: str
) -> None:
    kubeconfig = Kubeconfig([write(tmp_path / "config", config(**entries))])
    with pytest.raises(ValueError, match=problem):
        kubeconfig.current_context()


def test_an_entry_that_is_not_used_may_be_wrong(tmp_path: Path) -> None:
    users = [{"name": "me", "user": {"token": "mine"}}, {"name": "you", "user": {"token": 1, "future": "x"}}]
    assert (
        Kubeconfig([write(tmp_path / "config", config(users=users))]).current_context().user.token == "mine"
    )
