"""Tokens: which ones are good, and how one is exchanged for another (RFC 8693)."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from authbridge_sidecar.config import Exchange, Route, Validation

_KEYS_SECONDS = 300.0
# A token with a key that nobody knows must not have the key set fetched each time.
_AGAIN_SECONDS = 5.0
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_SPIFFE_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


class Denied(Exception):
    """A call does not pass, with the status that its caller gets."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    """The client's files; read each time, since the kubelet and the operator replace them."""

    folder: Path
    svid: Path = Path("/opt/jwt_svid.token")

    @property
    def client_id(self) -> str:
        """The client's name; empty as long as there is none."""
        return _read(self.folder / "client-id.txt")

    @property
    def secret(self) -> str:
        """The client's secret."""
        return _read(self.folder / "client-secret.txt")

    def ready(self, identity: str) -> bool:
        """Whether all that this kind of identity needs is there."""
        return bool(self.client_id and (_read(self.svid) if identity == "spiffe" else self.secret))

    def form(self, identity: str) -> dict[str, str]:
        """What a token request says of who asks."""
        if identity == "spiffe":
            assertion = _read(self.svid)
            return {
                "client_id": self.client_id,
                "client_assertion_type": _SPIFFE_ASSERTION,
                "client_assertion": assertion,
            }
        return {"client_id": self.client_id, "client_secret": self.secret}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Keys:
    """The key set of a realm, kept for a while, fetched again for a key that is not in it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._url = ""
        self._keys: dict[str, Any] = {}
        self._fetched_at = -_KEYS_SECONDS
        self._lock = asyncio.Lock()

    async def get(self, url: str, name: str) -> Any:
        """The public key of that name. Raises Denied."""
        async with self._lock:
            age = time.monotonic() - self._fetched_at
            if url != self._url or age > _KEYS_SECONDS or (name not in self._keys and age > _AGAIN_SECONDS):
                await self._fetch(url)
            if name not in self._keys:
                raise Denied(401, "token is signed with an unknown key")
            return self._keys[name]

    async def _fetch(self, url: str) -> None:
        try:
            async with self._session.get(url) as answer:
                answer.raise_for_status()
                found = jwt.PyJWKSet.from_dict(await answer.json())
        except (aiohttp.ClientError, TimeoutError, jwt.PyJWTError, ValueError) as error:
            raise Denied(503, f"key set cannot be fetched: {error}") from error
        self._keys = {
            key.key_id: key.key for key in found.keys if key.algorithm_name == "RS256" and key.key_id
        }
        self._url, self._fetched_at = url, time.monotonic()


async def validate(token: str, validation: Validation, audience: str, keys: Keys) -> dict[str, Any]:
    """The claims of a good token. Raises Denied."""
    try:
        name = jwt.get_unverified_header(token).get("kid") or ""
        return jwt.decode(
            token,
            await keys.get(validation.keys_url, name),
            # The only one that is taken, whatever the token says.
            algorithms=["RS256"],
            issuer=validation.issuer,
            audience=audience,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise Denied(401, f"token is not valid: {error}") from error


async def exchange(
    session: aiohttp.ClientSession,
    token: str,
    plugin: Exchange,
    route: Route,
    credentials: Credentials,
) -> str:
    """A token for the route's audience, in the name of who the given one is for. Raises Denied."""
    form = {
        "grant_type": _GRANT,
        "subject_token": token,
        "subject_token_type": _ACCESS_TOKEN,
        "requested_token_type": _ACCESS_TOKEN,
        "audience": route.audience,
        **({"scope": route.scopes} if route.scopes else {}),
        **credentials.form(plugin.identity),
    }
    try:
        async with session.post(plugin.token_url, data=form) as answer:
            body = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Denied(503, f"token exchange: {error}") from error
    if answer.status != 200:
        raise Denied(401, f"token exchange refused: {body.get('error_description') or body.get('error')}")
    return body["access_token"]
