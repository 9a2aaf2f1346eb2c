"""What a client of the metrics sees: the certificate of the files, the renewed one, or a self-made one."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.self_signed import build_self_signed
from kagenti_operator.runtime.telemetry.serving_certificate import (
    CertificateError,
    CertificateFiles,
    build_self_signed_context,
)


@asynccontextmanager
async def serving(tls: Callable[[], Awaitable[ssl.SSLContext]]) -> AsyncGenerator[int]:
    listener = Listener("test", web.Application(), BindAddress("127.0.0.1", 0), tls=tls)
    run = asyncio.create_task(listener.run())
    try:
        await listener.ready.wait()
        yield listener.port
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def shown_at(port: int) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


async def names_shown(port: int) -> list[str]:
    certificate = await asyncio.to_thread(shown_at, port)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def write(folder: Path, name: str) -> None:
    """One PEM with key and certificate serves as both files."""
    pem = build_self_signed([name], datetime.now(UTC))
    for file in ("tls.crt", "tls.key"):
        (folder / file).write_bytes(pem)


def load(folder: Path) -> CertificateFiles:
    return CertificateFiles(folder / "tls.crt", folder / "tls.key")


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next(tmp_path: Path) -> None:
    write(tmp_path, "first")
    files = load(tmp_path)

    async def provide() -> ssl.SSLContext:
        return files.context

    async with serving(provide) as port:
        assert await names_shown(port) == ["first"]
        write(tmp_path, "second")
        assert await names_shown(port) == ["second"]
        (tmp_path / "tls.crt").write_text("half of a certif")
        assert await names_shown(port) == ["second"]
        (tmp_path / "tls.key").unlink()
        assert await names_shown(port) == ["second"]
        write(tmp_path, "third")
        assert await names_shown(port) == ["third"]


async def test_a_mounted_secret_is_renewed_by_another_link(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, name)
    current = tmp_path / "..data"
    current.symlink_to("first")
    files = load(current)

    async def provide() -> ssl.SSLContext:
        return files.context

    async with serving(provide) as port:
        assert await names_shown(port) == ["first"]
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").replace(current)
        shutil.rmtree(tmp_path / "first")
        assert await names_shown(port) == ["second"]


async def test_one_is_made_where_none_is_given() -> None:
    async with serving(lambda: build_self_signed_context(("operator-0", "localhost"))) as port:
        assert await names_shown(port) == ["operator-0", "localhost"]


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    (tmp_path / "tls.key").write_bytes(build_self_signed(["other"], datetime.now(UTC)))
    with pytest.raises(CertificateError, match=r"tls\.key.*the certificate's own"):
        load(tmp_path)


async def test_an_impossible_name_is_told() -> None:
    with pytest.raises(CertificateError, match="plain HTTP"):
        await build_self_signed_context(("smörgås",))
