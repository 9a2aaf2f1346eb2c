"""Tokens and certificates that are replaced while we run."""

import os
import ssl
from pathlib import Path

import pytest
from trustme import CA

from kagenti_operator.kube.auth.rotation import TOKEN_MAX_AGE_SECONDS, FileToken, TlsFiles
from kagenti_operator.kube.errors import ConfigError


class Uptime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def projected(tmp_path: Path) -> Path:
    """A projected volume as the kubelet keeps it: the files are links into a folder that is swapped."""
    project(tmp_path, "first")
    (tmp_path / "token").symlink_to("..data/token")
    return tmp_path


def project(volume: Path, token: str) -> None:
    folder = volume / f"..{token}"
    folder.mkdir()
    (folder / "token").write_text(token)
    (volume / "..new").symlink_to(folder.name)
    (volume / "..new").rename(volume / "..data")


def test_a_rotated_token_is_used_at_once(projected: Path) -> None:
    source = FileToken(projected / "token")
    assert source.current() == "first"
    project(projected, "second")
    assert source.current() == "second"


def test_a_token_rewritten_in_place_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    source = FileToken(path)
    assert source.current() == "first"
    path.write_text("another\n")
    assert source.current() == "another"


def test_a_change_that_does_not_show_is_noticed_within_a_minute(tmp_path: Path) -> None:
    path, uptime = tmp_path / "token", Uptime()
    path.write_text("aaaa")
    source = FileToken(path, monotonic=uptime)
    assert source.current() == "aaaa"
    rewrite_unnoticed(path, "bbbb")
    assert source.current() == "aaaa"
    uptime.seconds += TOKEN_MAX_AGE_SECONDS
    assert source.current() == "bbbb"


def test_a_refused_token_is_read_again_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("aaaa")
    source = FileToken(path)
    assert source.current() == "aaaa"
    rewrite_unnoticed(path, "bbbb")
    source.reject()
    assert source.current() == "bbbb"


def rewrite_unnoticed(path: Path, token: str) -> None:
    before = path.stat()
    path.write_text(token)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_last_token_survives_a_moment_without_the_file(projected: Path) -> None:
    source = FileToken(projected / "token")
    source.current()
    (projected / "..data").unlink()
    assert source.current() == "first"
    project(projected, "second")
    assert source.current() == "second"


def test_the_last_token_survives_a_moment_with_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    source = FileToken(path)
    source.current()
    path.write_text("")
    assert source.current() == "first"
    path.write_text("second")
    assert source.current() == "second"


def test_a_token_that_never_was_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    missing = FileToken(tmp_path / "token")
    with pytest.raises(ConfigError, match=r"cannot read the token file .*token: No such file"):
        missing.current()
    (tmp_path / "token").touch()
    with pytest.raises(ConfigError, match="is empty"):
        missing.current()


def authority_file(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "ca.crt"
    new = tmp_path / "new"
    CA(organization_unit_name=name).cert_pem.write_to_path(new)
    new.rename(path)
    return path


def trusted(context: ssl.SSLContext) -> list[str]:
    names: list[str] = []
    for certificate in context.get_ca_certs():
        subject = certificate["subject"]
        assert isinstance(subject, tuple)
        names += [value for group in subject for key, value in group if key == "organizationalUnitName"]
    return names


def test_a_replaced_ca_makes_a_new_context(tmp_path: Path) -> None:
    path = authority_file(tmp_path, "first")
    files = TlsFiles(lambda: ssl.create_default_context(cafile=path), [path])
    context = files.current()
    assert files.current() is context
    authority_file(tmp_path, "second")
    renewed = files.current()
    assert renewed is not context
    assert trusted(renewed) == ["second"]


def test_the_last_ca_stays_in_use_while_the_file_is_broken(tmp_path: Path) -> None:
    path = authority_file(tmp_path, "first")
    files = TlsFiles(lambda: ssl.create_default_context(cafile=path), [path])
    path.write_text("-----BEGIN CERT")
    assert trusted(files.current()) == ["first"]
    path.unlink()
    assert trusted(files.current()) == ["first"]
    authority_file(tmp_path, "second")
    assert trusted(files.current()) == ["second"]
