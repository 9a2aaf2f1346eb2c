"""What can go wrong with the Kubernetes API, classed by what to do about it.

KubeError
  ApiError      the API server answered with a refusal: see its properties
  TooLarge      the answer is larger than anybody reads
  Unfit         the answer, or an object in it, is not what its model says
  Unreachable   no answer: network, TLS, name, timeout; try again later
    Interrupted the answer began, and broke off
      Silent    it did not break, but nothing came for long; ask again to find out why
  ConfigError   no usable credentials or settings: a person has to act, trying again does not help
"""

from collections.abc import Mapping

import msgspec

from kagenti_operator import bounded_json
from kagenti_operator.plain_text import excerpt

_MAX_TEXT = 300
# Refusals list what is wrong field by field.
_MAX_MESSAGE = 4096


class KubeError(Exception):
    """Any failure of talking to the Kubernetes API."""


class ConfigError(KubeError):
    """Credentials or connection settings are missing or unusable."""


class TooLarge(KubeError):
    """An answer is larger than its bound, and was not read to its end."""


class Unfit(KubeError):
    """An answer does not fit the model that it is decoded into."""


class Unreachable(KubeError):
    """The API server gave no (complete) answer."""


class Interrupted(Unreachable):
    """The API server began to answer, then the connection broke or fell silent."""


class Silent(Interrupted):
    """A stream is open, but nothing comes: there is nothing to send, or nobody at the other end."""


class StatusCause(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One detail of a refusal."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Machine-readable part of a `meta/v1` Status."""

    causes: tuple[StatusCause, ...] | None = None
    retry_after_seconds: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`meta/v1` Status: how the API server words a refusal, in an answer or inside a watch."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


class ApiError(KubeError):
    """The API server refused.

    `what` names the request ("apply RoleBinding team1/otel-collector-mlflow"); `retry_after` is in seconds,
    None where the server did not say.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int,
        reason: str = "",
        message: str = "",
        causes: tuple[StatusCause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{what}: {' '.join((str(status), reason)).strip()}: {message}")
        self.what = what
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after

    @property
    def not_found(self) -> bool:
        """The object, or the whole API, does not exist."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else was first: another version is stored, or a field belongs to another manager."""
        return self.status == 409

    @property
    def already_exists(self) -> bool:
        """A create met an object of that name."""
        return self.reason == "AlreadyExists"

    @property
    def forbidden(self) -> bool:
        """A permission is missing (or the namespace is going: see `namespace_terminating`)."""
        return self.status == 403

    @property
    def gone(self) -> bool:
        """The resource version or the continue token is too old: list again."""
        return self.status == 410

    @property
    def too_many_requests(self) -> bool:
        """The server sheds load; nothing was done."""
        return self.status == 429

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be created in a namespace that is being deleted."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)


def error_from_status(what: str, status: Status) -> ApiError:
    """Word a Status that came inside a watch stream."""
    details = status.details or StatusDetails()
    return ApiError(
        what,
        status=status.code,
        reason=excerpt(status.reason, _MAX_TEXT),
        message=excerpt(status.message, _MAX_MESSAGE),
        causes=details.causes or (),
        retry_after=details.retry_after_seconds or None,
    )


def error_from_response(what: str, code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Word an HTTP answer that is not a success; proxies on the way answer with something else than JSON."""
    try:
        status = bounded_json.decode(body, Status)
    except msgspec.DecodeError:
        status = Status(message=excerpt(body, _MAX_TEXT) or "no explanation given")
    details = status.details or StatusDetails()
    return ApiError(
        what,
        status=code,
        reason=excerpt(status.reason, _MAX_TEXT),
        message=excerpt(status.message, _MAX_MESSAGE),
        causes=details.causes or (),
        retry_after=_seconds(headers.get("Retry-After")) or details.retry_after_seconds or None,
    )


def _seconds(header: str | None) -> float | None:
    # The header may also be a date; Kubernetes never sends one, and a proxy's is not worth a parser.
    return float(header) if header and header.isdecimal() else None
