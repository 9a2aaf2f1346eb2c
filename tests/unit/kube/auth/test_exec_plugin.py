"""Credential plugins: small shell scripts that print what a real one would."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kagenti_operator.kube.auth.exec_plugin import ExecPlugin
from kagenti_operator.kube.errors import ConfigError

V1 = "client.authentication.k8s.io/v1"
START = datetime(2026, 1, 1, tzinfo=UTC)


class WallClock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


def plugin(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "plugin"
    path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
    path.chmod(0o700)
    return path


def counting(tmp_path: Path, expiry: str = "null") -> Path:
    """Its first token is token-1, its second token-2..."""
    credential = f'{{"status": {{"token": "token-%s", "expirationTimestamp": {expiry}}}}}'
    return plugin(tmp_path, f"echo run >>runs\nprintf '{credential}' $(grep -c run runs)")


async def use(token: ExecPlugin) -> str | None:
    await token.prepare()
    return token.current()


async def test_a_token_without_expiry_is_kept_until_it_is_refused(tmp_path: Path) -> None:
    token = ExecPlugin([str(counting(tmp_path))], {}, api_version=V1)
    assert token.current() is None
    assert [await use(token), await use(token)] == ["token-1", "token-1"]
    token.reject()
    assert token.current() == "token-1"
    assert await use(token) == "token-2"


async def test_a_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    clock = WallClock()
    path = counting(tmp_path, '"2026-01-01T01:00:00Z"')
    token = ExecPlugin([str(path)], {}, api_version=V1, now=clock)
    assert await use(token) == "token-1"
    clock.time = START + timedelta(minutes=59)
    assert await use(token) == "token-1"
    clock.time = START + timedelta(minutes=59, seconds=45)
    assert await use(token) == "token-2"


async def test_the_plugin_gets_its_arguments_environment_and_what_is_wanted(tmp_path: Path) -> None:
    path = plugin(
        tmp_path, 'echo "$1 $REGION $KUBERNETES_EXEC_INFO" >seen\necho \'{"status":{"token":"t"}}\''
    )
    v1beta1 = "client.authentication.k8s.io/v1beta1"
    await use(ExecPlugin([str(path), "login"], {"REGION": "eu"}, api_version=v1beta1))
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("login eu {")
    assert f'"apiVersion":"{v1beta1}"' in seen
    assert '"interactive":false' in seen


async def test_a_failing_plugin_is_reported_with_its_own_words(tmp_path: Path) -> None:
    path = plugin(tmp_path, "echo 'session expired, log in' >&2\nexit 3")
    with pytest.raises(ConfigError, match="plugin failed with exit status 3: session expired, log in"):
        await use(ExecPlugin([str(path)], {}, api_version=V1))


async def test_a_missing_plugin_is_reported_with_the_hint_to_install_it() -> None:
    token = ExecPlugin(["no-such-plugin"], {}, api_version=V1, install_hint="get it from example.com")
    with pytest.raises(ConfigError, match=r"cannot run .* no-such-plugin: .*; get it from example\.com"):
        await use(token)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("nonsense", "printed no ExecCredential"),
        ("{}", "gave no token and no client certificate"),
        ('{"status": {}}', "gave no token and no client certificate"),
        ('{"status": {"token": "t", "clientKeyData": "key"}}', "only one of client certificate and key"),
        ('{"status": {"clientCertificateData": "c"}}', "only one of client certificate and key"),
    ],
)
async def test_a_plugin_that_gives_no_token_is_reported(tmp_path: Path, output: str, words: str) -> None:
    path = plugin(tmp_path, f"echo '{output}'")
    with pytest.raises(ConfigError, match=words):
        await use(ExecPlugin([str(path)], {}, api_version=V1))
