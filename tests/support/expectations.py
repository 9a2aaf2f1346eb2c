"""What tests of the operator expect of objects: an Event on them, or that nobody writes them."""

import aiohttp

from kagenti_devcluster.testing.platform import Object, Platform, always, eventually


async def expect_event(
    platform: Platform, namespace: str, name: str, reason: str, *words: str, seconds: float = 60
) -> Object:
    """The one Event of that reason on an object, once its note holds these words."""

    async def reported() -> Object:
        found = [event for event in await platform.events(namespace, name) if event["reason"] == reason]
        assert len(found) == 1
        assert all(word in found[0]["note"] for word in words), found[0]["note"]
        return found[0]

    return await eventually(reported, seconds=seconds)


async def expect_unchanged(
    platform: Platform, path: str, before: Object, *, seconds: float, field: str = "resourceVersion"
) -> None:
    """Assert that an object's version stays during that time; or its generation, with that as `field`."""

    async def unchanged() -> None:
        now = await platform.request("GET", path)
        assert now["metadata"][field] == before["metadata"][field]

    await always(unchanged, seconds=seconds)


async def ask_ready(port: int) -> tuple[int, str]:
    """Status and text of the probe of an operator that runs on this machine."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as response,
    ):
        return response.status, await response.text()
