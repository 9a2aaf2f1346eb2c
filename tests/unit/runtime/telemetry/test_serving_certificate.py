"""What a client of the metrics sees: the certificate of the files, the renewed one, or a self-made one."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.self_signed import build_self_signed
from kagenti_operator.runtime.telemetry.serving_certificate import (
    CertificateError,
    CertificateFiles,
    build_self_signed_context,
)
from tests.support.served_certificate import read_served_names


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
        assert await read_served_names(port) == ["first"]
        write(tmp_path, "second")
        assert await read_served_names(port) == ["second"]
        (tmp_path / "tls.crt").write_text("half of a certif")
        assert await read_served_names(port) == ["second"]
        (tmp_path / "tls.key").unlink()
        assert await read_served_names(port) == ["second"]
        write(tmp_path, "third")
        assert await read_served_names(port) == ["third"]


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
        assert await read_served_names(port) == ["first"]
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").replace(current)
        shutil.rmtree(tmp_path / "first")
        assert await read_served_names(port) == ["second"]


async def test_one_is_made_where_none_is_given() -> None:
    async with serving(lambda: build_self_signed_context(("operator-0", "localhost"))) as port:
        assert await read_served_names(port) == ["operator-0", "localhost"]


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    (tmp_path / "tls.key").write_bytes(build_self_signed(["other"], datetime.now(UTC)))
    with pytest.raises(CertificateError, match=r"tls\.key.*the certificate's own"):
        load(tmp_path)


async def test_an_impossible_name_is_reported() -> None:
    with pytest.raises(CertificateError, match="plain HTTP"):
        await build_self_signed_context(("smörgås",))
