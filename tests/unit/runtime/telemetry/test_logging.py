import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog

from kagenti_operator.runtime.telemetry.logging import configure

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def write(format_: Any, stream: io.StringIO | None = None, level: str = "info") -> io.StringIO:
    stream = stream or io.StringIO()
    configure(format_, level, stream)
    return stream


def fail(error: Exception) -> None:
    raise error


def test_a_json_line_has_its_fixed_keys_first() -> None:
    stream = write("json")
    structlog.get_logger("controllers.access").info("Found available MLflow CR", name="mlflow", tracesURL="u")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert list(json.loads(line)) == ["level", "ts", "logger", "msg", "name", "tracesURL"]
    assert json.loads(line) | {"ts": ""} == {
        "level": "info",
        "ts": "",
        "logger": "controllers.access",
        "msg": "Found available MLflow CR",
        "name": "mlflow",
        "tracesURL": "u",
    }
    assert datetime.fromisoformat(json.loads(line)["ts"]).tzinfo is not None


def test_a_json_line_is_one_line_whatever_it_holds() -> None:
    stream = write("json")
    structlog.get_logger("x").info("odd", text='a\n"b"', object=object, nested={"a": (1, None)}, number=1.5)
    line = json.loads(stream.getvalue())
    assert line["text"] == 'a\n"b"'
    assert line["object"] == "<class 'object'>"
    assert line["nested"] == {"a": [1, None]}


def test_a_failure_carries_its_traceback() -> None:
    stream = write("json")
    try:
        fail(KeyError("spec"))
    except KeyError as error:
        structlog.get_logger("x").error("broke", exc_info=error)
    line = json.loads(stream.getvalue())
    assert line["level"] == "error"
    assert "KeyError: 'spec'" in line["exception"]
    assert "test_logging.py" in line["exception"]


def test_text_is_aligned_for_people() -> None:
    stream = write("text")
    structlog.get_logger("runtime.leader").info("Became leader", lease="ns/x", why="none at all", empty="")
    structlog.get_logger("controllers.collector").warning("Configured")
    first, second = stream.getvalue().splitlines()
    assert re.match(
        r"\S+Z INFO    runtime.leader +Became leader +lease=ns/x why='none at all' empty=''$", first
    )
    assert first.index("Became") == second.index("Configured")


def test_text_shows_a_traceback_below_its_line() -> None:
    stream = write("text")
    try:
        fail(ValueError("a bug"))
    except ValueError:
        structlog.get_logger("x").exception("broke", key="team1")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("key=team1")
    assert lines[-1] == "ValueError: a bug"


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_others_say_is_one_line_and_writes_over_nothing(format_: str) -> None:
    stream = write(format_)
    structlog.get_logger("x").warning(
        "MLflow said \x1b[2J\nERROR", name="a\x1b]0;b\x07\r\u202e", list=["\x1b[2J"]
    )
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.removesuffix("\n").isprintable()


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_others_say_is_bounded_and_not_cut_within_a_token(format_: str) -> None:
    stream = write(format_)
    structlog.get_logger("x").warning("MLflow said " + "x" * 10**6, name="y" * 4090 + f" {TOKEN}")
    try:
        fail(ValueError("z" * 10**6))
    except ValueError:
        structlog.get_logger("x").exception("broke")
    assert "eyJhbG" not in stream.getvalue()
    assert len(stream.getvalue()) < 50_000


def test_colours_are_for_terminals_only() -> None:
    plain, terminal = write("text"), Terminal()
    structlog.get_logger("x").error("here")
    write("text", terminal)
    structlog.get_logger("x").error("there")
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[31mERROR" in terminal.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    stream = write("json", level="warning")
    structlog.get_logger("x").info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [json.loads(line)["msg"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_level_that_does_not_exist_is_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match=r'"loud" does not exist: choose one of debug, info, warning, error'):
        configure("json", "loud")


def test_libraries_write_the_same_lines() -> None:
    stream = write("json")
    logging.getLogger("aiohttp.client").warning("%s went wrong", "this")
    try:
        fail(OSError("gone"))
    except OSError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first | {"ts": ""} == {
        "level": "warning",
        "ts": "",
        "logger": "aiohttp.client",
        "msg": "this went wrong",
    }
    assert "OSError: gone" in second["exception"]


@pytest.mark.parametrize("format_", ["json", "text"])
@pytest.mark.parametrize(
    "secret", [TOKEN, f"Bearer {TOKEN}", "Bearer abcdefgh12345678", "sha256~Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"]
)
def test_what_looks_like_a_token_is_never_written(format_: Any, secret: str) -> None:
    stream = write(format_)
    log = structlog.get_logger("x")
    log.info("value", header=secret)
    log.info(f"message {secret}")
    log.info("nested", headers={"Authorization": [secret]})
    logging.getLogger("library").warning("argument %s", secret)
    try:
        fail(ValueError(f"refused {secret}"))
    except ValueError:
        log.exception("traceback")
    assert secret.removeprefix("Bearer ") not in stream.getvalue()
    assert stream.getvalue().count("<redacted>") >= 5


@pytest.mark.parametrize(
    "harmless",
    [
        "the bearer token is missing",
        "bearertokenauth/mlflow",
        "sha256:0123456789abcdef",
        "team1/otel-collector",
    ],
)
def test_what_only_resembles_one_is_left_alone(harmless: str) -> None:
    stream = write("json")
    structlog.get_logger("x").info("value", text=harmless)
    assert json.loads(stream.getvalue())["text"] == harmless
