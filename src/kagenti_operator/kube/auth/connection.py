"""A connection to an API server: where it is, how to verify it, and who we are there."""

import ssl
from collections.abc import Sequence

from yarl import URL

from kagenti_operator.kube.auth.rotation import FixedToken, TlsFiles, TokenSource
from kagenti_operator.kube.errors import ConfigError


class Connection:
    """The API server's address, how to verify it, and who we are there.

    `server` is a base URL without a trailing slash, `namespace` the one that the credentials name.
    `server_hostname` is the name that the server's certificate is checked for, None for the one in its URL.
    `proxy` is the URL of the HTTP proxy to go through. `impersonation` is sent with every request: the
    Impersonate-* headers that say for whom we act. `in_pod`: we are the ServiceAccount of a pod.
    """

    def __init__(
        self,
        server: str,
        *,
        token: TokenSource | None = None,
        tls: TlsFiles | None = None,
        server_hostname: str | None = None,
        proxy: URL | None = None,
        impersonation: Sequence[tuple[str, str]] = (),
        namespace: str = "default",
        in_pod: bool = False,
    ) -> None:
        self.server = server.rstrip("/")
        self.server_hostname = server_hostname
        self.proxy = proxy
        self.impersonation = tuple(impersonation)
        self.namespace = namespace
        self.in_pod = in_pod
        self._token = token or FixedToken(None)
        self._tls = tls

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the context for the next request; another object after a rotation. None for plain HTTP."""
        return self._tls.current() if self._tls else None

    async def authorization(self) -> str | None:
        """Return the Authorization header for the next request, None where TLS says who we are.

        Raises ConfigError for a token that no header can carry.
        """
        await self._token.prepare()
        token = self._token.current()
        return f"Bearer {self._checked(token)}" if token else None

    def reject_token(self) -> None:
        """The API server answered 401: the next request uses a token that is read anew."""
        self._token.reject()

    def token(self) -> str:
        """Return the bearer token, for other servers that trust the cluster's, such as MLflow.

        Raises ConfigError where the credentials have none, and where it is not the token of whom we act for.
        """
        if self.impersonation:
            user = dict(self.impersonation)["Impersonate-User"]
            raise ConfigError(
                f"the credentials for {self.server} impersonate {user}, which no other server understands; "
                f"use a kubeconfig with a token of {user}"
            )
        token = self._token.current()
        if not token:
            raise ConfigError(
                f"the credentials for {self.server} have no bearer token, only a client certificate at most; "
                "use a kubeconfig with a token"
            )
        return self._checked(token)

    def _checked(self, token: str) -> str:
        # A header carries nothing else, and a line that was folded by mistake is easily overlooked.
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(
                f"the bearer token for {self.server} holds line breaks, control characters or letters that "
                "no token has: write it anew, on one line"
            )
        return token


class OwnToken:
    """The token of a connection, for other servers that trust the cluster's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def current(self) -> str:
        """Return it; see `Connection.token`."""
        return self._connection.token()

    async def prepare(self) -> None:
        """See to it that it is valid. Raises ConfigError."""
        await self._connection.authorization()

    def reject(self) -> None:
        """Nothing to do: whether it is good is the API server's to say."""
