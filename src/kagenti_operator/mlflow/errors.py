"""What can go wrong with MLflow, classed by what to do: try again (`retryable`), or have a person act.

MLflowError             MLflow answered, and not with what was asked for
  MLflowUnreachable     no answer: network, timeout, TLS
    MLflowUntrusted     its certificate is signed by no CA that is trusted here
"""


class MLflowError(Exception):
    """MLflow refused, failed, or was not MLflow; `str()` is for people and says what to do.

    `status` is None where there was no HTTP answer, `code` is MLflow's own or one of ours, and
    `retry_after` is how many seconds the server asked to be left alone.
    """

    def __init__(
        self, status: int | None, code: str, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without anybody doing something."""
        return self.status is not None and (self.status == 429 or self.status >= 500)


class MLflowUnreachable(MLflowError):
    """No answer came."""

    def __init__(self, message: str, *, code: str = "UNREACHABLE") -> None:
        super().__init__(None, code, message)

    @property
    def retryable(self) -> bool:
        """Networks come back."""
        return True


class MLflowUntrusted(MLflowUnreachable):
    """The server's certificate cannot be verified."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="UNTRUSTED")

    @property
    def retryable(self) -> bool:
        """Somebody must bring the CA; its file is read again as soon as it changes."""
        return False
