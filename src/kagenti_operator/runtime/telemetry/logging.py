"""One log, set up once: JSON for machines or aligned text for people, the libraries' lines included."""

import logging
import re
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kagenti_operator.plain_text import excerpt, printable, redact

type Format = Literal["json", "text"]

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# Longer texts come from others, who may send megabytes. A traceback is ours, and ends with theirs.
_LONGEST_TEXT = 4096
_LONGEST_TRACE = 32_768
_FIRST_KEYS = ("level", "ts", "logger", "msg")
# Widths of the columns that people read, in characters.
_LEVEL_WIDTH, _LOGGER_WIDTH, _MESSAGE_WIDTH = 7, 28, 44
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"


def configure(format: Format, level: str, stream: TextIO = sys.stderr) -> None:
    """Send every log line of the process to `stream`. Raises ValueError for a level that does not exist."""
    if level not in LEVELS:
        raise ValueError(f'log level "{level}" does not exist: choose one of {", ".join(LEVELS)}')
    render = _render_json if format == "json" else _TextRenderer(colour=stream.isatty())
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
        _bound,
        render,
        _redact,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *names: _Line(stream, *names),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=LEVELS[level], force=True)
    logging.captureWarnings(capture=True)


class _Line:
    """What structlog ends in: writes finished lines for the logger of one name."""

    def __init__(self, stream: TextIO, name: str = "root") -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    debug = info = warning = error = critical = msg


class _ToStructlog(logging.Handler):
    """Hands the lines of libraries on, so that they look like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(record.name)
        logger.log(min(record.levelno, logging.ERROR), record.getMessage(), exc_info=record.exc_info)


def _add_logger_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _bound(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Bound what others may have made long, and keep it from writing over what is beside it."""
    for key, value in event.items():
        if key == "exception":
            event[key] = _bound_trace(str(value))
        elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
            event[key] = excerpt(value, _LONGEST_TEXT)
        elif isinstance(value, str) and not value.isprintable():
            event[key] = _escape_lines(value)
    return event


def _bound_trace(trace: str) -> str:
    trace = redact(trace)
    if len(trace) > _LONGEST_TRACE:
        trace = f"{trace[: _LONGEST_TRACE // 2]}\n…\n{trace[-_LONGEST_TRACE // 2 :]}"
    return _escape_lines(trace)


def _escape_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    ordered: dict[str, Any] = {key: event.pop(key) for key in _FIRST_KEYS}
    ordered.update(event)
    # A value that JSON does not know is better logged in Python's words than not at all.
    return msgspec.json.encode(ordered, enc_hook=str).decode()


class _TextRenderer:
    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        level, time, name, message = (printable(str(event.pop(key))) for key in _FIRST_KEYS)
        trace: str | None = event.pop("exception", None)
        shown_level = level.upper().ljust(_LEVEL_WIDTH)
        if self._colour:
            shown_level = f"{_COLOURS.get(level, '')}{shown_level}{_PLAIN}"
        facts = " ".join(f"{key}={_show(value)}" for key, value in event.items())
        line = f"{time} {shown_level} {name:{_LOGGER_WIDTH}} {message:{_MESSAGE_WIDTH}} {facts}".rstrip()
        return f"{line}\n{trace}" if trace else line


def _show(value: Any) -> str:
    text = printable(str(value))
    return text if text and not re.search(r"[\s\"=]", text) else repr(text)


def _redact(_: WrappedLogger, __: str, line: Any) -> str:
    """Take out what looks like a token, wherever in the finished line it stands, tracebacks included."""
    return redact(str(line))
