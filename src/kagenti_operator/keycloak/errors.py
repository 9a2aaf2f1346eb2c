"""What can go wrong with Keycloak, classed by what to do: try again (`retryable`), or have a person act.

KeycloakError             Keycloak answered, and not with what was asked for; or it cannot be asked at all
  KeycloakUnreachable     no answer: network, timeout, TLS
"""


class KeycloakError(Exception):
    """Keycloak refused, failed, or was not Keycloak; `str()` is for people and says what to do.

    `status` is None where there was no HTTP answer, and `retry_after` is how many seconds to wait at least.
    """

    def __init__(self, status: int | None, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed soon without anybody doing something."""
        return self.status is not None and (self.status == 429 or self.status >= 500)


class KeycloakUnreachable(KeycloakError):
    """No answer came."""

    def __init__(self, message: str) -> None:
        super().__init__(None, message)

    @property
    def retryable(self) -> bool:
        """Networks come back."""
        return True
