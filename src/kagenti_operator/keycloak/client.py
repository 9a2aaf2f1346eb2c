"""The clients of a realm: find, create, change, delete and list them."""

import random
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.keycloak.address import check_address
from kagenti_operator.keycloak.admin_token import AdminToken, ReadCredentials
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.keycloak.transport import Answer, Observer, Request, Transport, decode_answer

PAGE = 100
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_LONGEST = 4096


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A client as Keycloak has it: `id` is its own name for it, `client_id` what it logs in as."""

    id: str
    client_id: str
    secret: str | None = None
    client_authenticator_type: str | None = None
    attributes: dict[str, str] = {}

    def __post_init__(self) -> None:
        # They become part of paths and of files.
        if not _ID.fullmatch(self.id):
            raise ValueError("a client's id is of letters and digits")
        if len(self.client_id) > _LONGEST or len(self.secret or "") > _LONGEST:
            raise ValueError(f"a client's name and secret have no more than {_LONGEST} characters")


class KeycloakClient:
    """Asks one Keycloak as its administrator; `ca_files` are trusted beside the system's CAs.

    Every method raises KeycloakError, after trying again within the policy's limits what may go away by
    itself; errors of `credentials` pass through.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: ReadCredentials,
        rng: random.Random,
        ca_files: Sequence[Path] = (),
        policy: RetryPolicy | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Raises ValueError for an address that must not get the administrator's password."""
        self._transport = Transport(
            check_address(url),
            rng=rng,
            ca_files=ca_files,
            policy=policy or RetryPolicy(),
            observer=observer,
        )
        self._token = AdminToken(self._transport, credentials)

    @property
    def url(self) -> str:
        """The address, without a trailing slash."""
        return self._transport.url

    async def find(self, realm: str, client_id: str) -> RegisteredClient | None:
        """The client that logs in by that name; None where the realm has none."""
        request = Request(
            method="GET",
            path=_path(realm),
            doing=f"find client '{client_id}' in realm '{realm}'",
            params={"clientId": client_id},
        )
        answer = await self._send(request, 200)
        found = decode_answer(request, answer.body, list[RegisteredClient])
        return next((client for client in found if client.client_id == client_id), None)

    async def create(self, realm: str, representation: Mapping[str, Any]) -> bool:
        """Create a client; False where its name is taken."""
        request = Request(
            method="POST",
            path=_path(realm),
            doing=f"create client '{representation['clientId']}' in realm '{realm}'",
            body=representation,
        )
        return (await self._send(request, 201, 409)).status == 201

    async def update(self, realm: str, id_: str, representation: Mapping[str, Any]) -> None:
        """Change what the representation says; what it does not say stays."""
        request = Request(
            method="PUT",
            path=_path(realm, id_),
            doing=f"change client '{representation['clientId']}' in realm '{realm}'",
            body=representation,
        )
        await self._send(request, 204)

    async def delete(self, realm: str, client: RegisteredClient) -> bool:
        """Delete a client; False where it was gone already."""
        request = Request(
            method="DELETE",
            path=_path(realm, client.id),
            doing=f"delete client '{client.client_id}' in realm '{realm}'",
        )
        return (await self._send(request, 204, 404)).status == 204

    async def list_all(self, realm: str) -> AsyncGenerator[RegisteredClient]:
        """Every client of the realm, a page at a time. Those that come or go meanwhile may be missed."""
        first = 0
        while True:
            request = Request(
                method="GET",
                path=_path(realm),
                doing=f"list the clients of realm '{realm}'",
                params={"first": str(first), "max": str(PAGE)},
            )
            page = decode_answer(request, (await self._send(request, 200)).body, list[RegisteredClient])
            for client in page:
                yield client
            if len(page) < PAGE:
                return
            first += len(page)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _send(self, request: Request, *expected: int) -> Answer:
        token = await self._token.get()
        try:
            return await self._transport.send(request, *expected, token=token)
        except KeycloakError as error:
            if error.status != 401:
                raise
            self._token.reject(token)
        return await self._transport.send(request, *expected, token=await self._token.get())


def _path(realm: str, id_: str = "") -> str:
    path = f"/admin/realms/{quote(realm, safe='')}/clients"
    return f"{path}/{quote(id_, safe='')}" if id_ else path
