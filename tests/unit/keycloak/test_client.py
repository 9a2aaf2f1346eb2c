"""What is asked of Keycloak, with which token, and what happens when it does not answer as hoped."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from kagenti_operator.keycloak.admin_token import Credentials
from kagenti_operator.keycloak.client import PAGE, KeycloakClient
from kagenti_operator.keycloak.errors import KeycloakError, KeycloakUnreachable
from tests.support.fake_keycloak import PASSWORD, FakeKeycloak, running_keycloak

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def keycloak() -> AsyncGenerator[FakeKeycloak]:
    async with running_keycloak() as fake:
        yield fake


@asynccontextmanager
async def connected(url: str, passwords: list[str] | None = None) -> AsyncGenerator[KeycloakClient]:
    """Logs in with one password after the other, the last one for ever."""
    given = passwords or [PASSWORD]

    async def credentials() -> Credentials:
        return Credentials("temp-admin", given.pop(0) if len(given) > 1 else given[0])

    client = KeycloakClient(url, credentials=credentials, rng=random.Random(1))
    try:
        yield client
    finally:
        await client.close()


async def test_a_client_is_created_found_changed_and_deleted(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        assert await client.find("kagenti", "team1/weather") is None
        assert await client.create("kagenti", {"clientId": "team1/weather", "attributes": {"a": "1"}})
        assert not await client.create("kagenti", {"clientId": "team1/weather"})
        found = await client.find("kagenti", "team1/weather")
        assert found is not None
        assert found.attributes == {"a": "1"}
        assert found.secret
        await client.update("kagenti", found.id, {"clientId": "team1/weather", "attributes": {"a": "2"}})
        assert keycloak.get("team1/weather")["attributes"] == {"a": "2"}
        assert await client.delete("kagenti", found)
        assert not await client.delete("kagenti", found)
    assert keycloak.client_ids() == []


async def test_the_password_is_sent_once_as_long_as_its_token_is_valid(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        for _ in range(3):
            await client.find("kagenti", "any")
    assert keycloak.logins == 1
    [form] = keycloak.forms
    assert form == {
        "grant_type": "password",
        "client_id": "admin-cli",
        "username": "temp-admin",
        "password": PASSWORD,
    }


async def test_a_token_is_replaced_before_it_ends(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        await client.find("kagenti", "any")
        await asyncio.sleep(50)
        await client.find("kagenti", "any")
    assert keycloak.logins == 2


async def test_a_token_that_keycloak_has_forgotten_is_replaced_at_once(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        await client.find("kagenti", "any")
        keycloak.tokens.append("of somebody else's login")
        await client.find("kagenti", "any")
    assert keycloak.logins == 2


async def test_a_wrong_password_is_not_tried_again_and_again(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url, ["wrong"]) as client:
        with pytest.raises(KeycloakError, match="Invalid user credentials"):
            await client.find("kagenti", "any")
        with pytest.raises(KeycloakError, match="Invalid user credentials") as raised:
            await client.find("kagenti", "any")
        assert raised.value.retry_after == pytest.approx(60.0, abs=1)
        assert keycloak.logins == 1
        await asyncio.sleep(61)
        with pytest.raises(KeycloakError):
            await client.find("kagenti", "any")
    assert keycloak.logins == 2
    assert "wrong" not in str(raised.value)


async def test_a_rotated_password_is_tried_at_once(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url, ["before", PASSWORD]) as client:
        with pytest.raises(KeycloakError):
            await client.find("kagenti", "any")
        await client.find("kagenti", "any")


async def test_what_passes_by_itself_is_tried_again(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        await client.find("kagenti", "any")
        keycloak.answers = [web.Response(status=503), web.Response(status=429)]
        assert await client.find("kagenti", "any") is None


async def test_a_refusal_says_what_was_not_done_and_why(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        with pytest.raises(
            KeycloakError, match=r"did not find client 'x' in realm 'no such' \(404\): Realm not"
        ):
            await client.find("no such", "x")


async def test_names_cannot_leave_their_place_in_a_path(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        with pytest.raises(KeycloakError, match="404"):
            await client.find("../master", "x")
    assert keycloak.calls[-1] == "GET /admin/realms/..%2Fmaster/clients"


async def test_a_redirect_is_not_followed(keycloak: FakeKeycloak) -> None:
    keycloak.answers = [web.Response(status=307, headers={"Location": f"{keycloak.url}/elsewhere?a=b"})]
    async with connected(keycloak.url) as client:
        with pytest.raises(KeycloakError, match=r"\(307\): it points to http://127.0.0.1:\d+/elsewhere$"):
            await client.find("kagenti", "x")
    assert len(keycloak.calls) == 1


@pytest.mark.parametrize(
    "body",
    [b"[{}]", b"<html>", b'[{"id": "../../x", "clientId": "x"}]', b"[" * 5000, b'[{"id": "1"}]'],
    ids=["nothing in it", "a page", "an id that is a path", "deep", "half"],
)
async def test_what_keycloak_would_not_say_is_an_error(keycloak: FakeKeycloak, body: bytes) -> None:
    async with connected(keycloak.url) as client:
        await client.find("kagenti", "any")
        keycloak.answers = [web.Response(body=body)]
        with pytest.raises(KeycloakError, match="answers what Keycloak would not"):
            await client.find("kagenti", "x")


async def test_an_answer_without_end_is_not_read(keycloak: FakeKeycloak) -> None:
    async with connected(keycloak.url) as client:
        await client.find("kagenti", "any")
        keycloak.answers = [web.Response(body=b"[" + b" " * (5 * 2**20))]
        with pytest.raises(KeycloakError, match="larger than 4 MiB"):
            await client.find("kagenti", "x")


async def test_all_pages_are_listed(keycloak: FakeKeycloak) -> None:
    for number in range(2 * PAGE + 1):
        keycloak.add("kagenti", {"clientId": str(number)})
    async with connected(keycloak.url) as client:
        found = [item.client_id async for item in client.list_all("kagenti")]
    assert found == [str(number) for number in range(2 * PAGE + 1)]


async def test_nobody_there_says_what_to_check() -> None:
    async with connected("http://127.0.0.1:1") as client:
        with pytest.raises(KeycloakUnreachable, match="Check flag --keycloak-url"):
            await client.find("kagenti", "x")


async def test_an_address_that_must_not_get_the_password_makes_no_client() -> None:
    with pytest.raises(ValueError, match="in the clear"):
        async with connected("http://keycloak.example.com"):
            pass


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Credentials("temp-admin", "s3cret"))
