"""The sidecar: its listeners, and what becomes of each call in and out."""

import asyncio
import json
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import yaml

from authbridge_sidecar import config as configuration
from authbridge_sidecar.config import Config, Exchange, Fatal, Pipeline, Route
from authbridge_sidecar.http_head import Forward, Head, Reply, listen
from authbridge_sidecar.tokens import Credentials, Denied, Keys, exchange, validate

# What everybody may ask for.
_OPEN_PATHS = ("/healthz", "/readyz", "/livez", "/metrics")
_OPEN_PREFIX = "/.well-known/"
_LOOK_SECONDS = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_PENDING = "identity not yet configured (credentials pending)"


@dataclass(frozen=True)
class Places:
    """Where things are; `health` and `stats` are fixed in the real one."""

    config: Path
    shared: Path = Path("/shared")
    health: str = ":9091"
    stats: str = ":9093"


class Sidecar:
    """Runs on one file, and follows its pipeline."""

    def __init__(self, places: Places, session: aiohttp.ClientSession) -> None:
        """Raises Fatal where the real one would not start on that file."""
        self._places = places
        self._session = session
        self._keys = Keys(session)
        self._credentials = Credentials(places.shared)
        self._read = places.config.read_bytes()
        self.config: Config = configuration.read(places.config)
        self._reloads, self._failures, self._last_error = 0, 0, ""

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError for a port that is taken."""
        config = self.config
        if _waits_for_spire(config):
            # As the real one: it waits for SPIRE, and says nothing.
            await asyncio.Event().wait()
        if config.pipeline is None:
            say("WARN", "no pipeline configured: every request is passed on without a check")
        listeners = [
            ("transparent-proxy", config.transparent, self.outbound),
            ("reverse-proxy", config.reverse, self.inbound),
            ("forward-proxy", config.forward, self.outbound),
            ("health server", self._places.health, self._health),
            ("stat server", self._places.stats, self._stats),
            ("session server", config.session, self._sessions),
        ]
        with ExitStack() as open_servers:
            for name, at, handle in listeners:
                if at:
                    open_servers.callback((await listen(name, at, handle)).close)
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                self.look()

    def look(self) -> None:
        """Take up a pipeline that has changed in the file; one that would not do changes nothing."""
        try:
            content = self._places.config.read_bytes()
            if content == self._read:
                return
            self._read = content
            pipeline = configuration.read(self._places.config).pipeline
        except (Fatal, OSError) as error:
            self._failures, self._last_error = self._failures + 1, str(error)
            say("ERROR", f"reload failed, the last good configuration stays: {error}")
            return
        self.config = replace(self.config, pipeline=pipeline)
        self._reloads, self._last_error = self._reloads + 1, ""
        say("INFO", "configuration reloaded")

    @property
    def _pipeline(self) -> Pipeline:
        return self.config.pipeline or Pipeline()

    @property
    def _ready(self) -> bool:
        exchanging = self._pipeline.exchange
        return exchanging is None or self._credentials.ready(exchanging.identity)

    # --- calls to the agent ---------------------------------------------------------------------------

    async def inbound(self, head: Head) -> Reply | Forward:
        """A call from outside: with a good token, or to what is open, it goes to the agent."""
        try:
            await self._check(head)
        except Denied as denied:
            return Reply(denied.status, json.dumps({"error": str(denied)}), "application/json")
        backend = urlsplit(self.config.backend)
        return Forward(backend.hostname or "127.0.0.1", backend.port or 80, head)

    async def _check(self, head: Head) -> None:
        validation = self._pipeline.validation
        path = urlsplit(head.target).path
        if validation is None or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return
        if not head.bearer:
            raise Denied(401, "missing bearer token")
        audience = validation.audience or self._credentials.client_id
        if not self._ready or not audience:
            raise Denied(503, _PENDING)
        await validate(head.bearer, validation, audience, self._keys)

    # --- the agent's calls ----------------------------------------------------------------------------

    async def outbound(self, head: Head) -> Reply | Forward:
        """A call of the agent: with another token where a route or the policy says so."""
        if head.method == "CONNECT":
            host, _, port = head.target.rpartition(":")
            return Forward(host.strip("[]"), int(port), None)
        target = urlsplit(head.target if "://" in head.target else f"http://{head.get('host')}{head.target}")
        host, port = target.hostname or "", target.port or 80
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        try:
            token = await self._exchanged(head, host)
        except Denied as denied:
            return Reply(denied.status, json.dumps({"error": str(denied)}), "application/json")
        head = replace(head, target=path)
        return Forward(host, port, head.with_header("Authorization", f"Bearer {token}") if token else head)

    async def _exchanged(self, head: Head, host: str) -> str:
        """The token in place of the agent's; empty where its call stays as it is. Raises Denied."""
        plugin = self._pipeline.exchange
        if plugin is None or any(matches(pattern, host) for pattern in self.config.skip_hosts):
            return ""
        route = next((route for route in self._routes(plugin) if matches(route.host, host)), None)
        if route is None:
            if plugin.policy != "exchange":
                return ""
            route = Route(host, audience=host.partition(".")[0])
        if not route.audience:
            return ""
        if not head.bearer:
            raise Denied(401, "no token to exchange")
        if not self._ready:
            raise Denied(503, _PENDING)
        return await exchange(self._session, head.bearer, plugin, route, self._credentials)

    def _routes(self, plugin: Exchange) -> tuple[Route, ...]:
        try:
            rules = yaml.safe_load(Path(plugin.routes_file).read_text())
        except FileNotFoundError:
            return plugin.routes
        return (*plugin.routes, *configuration.parse_routes(rules))

    # --- about itself ---------------------------------------------------------------------------------

    async def _health(self, head: Head) -> Reply:
        match head.target:
            case "/healthz":
                return Reply(200, "ok")
            case "/readyz":
                return Reply(200, "ok") if self._ready else Reply(503, _PENDING)
            case _:
                return Reply(404, "not found")

    async def _stats(self, head: Head) -> Reply:
        if head.target != "/reload/status":
            return Reply(404, "not found")
        status = {"reloads": self._reloads, "failures": self._failures, "last_error": self._last_error}
        return Reply(200, json.dumps(status), "application/json")

    async def _sessions(self, _: Head) -> Reply:
        return Reply(200, "[]", "application/json")


def _waits_for_spire(config: Config) -> bool:
    return config.mtls != "disabled" and not Path(config.spire_socket).exists()


def matches(pattern: str, host: str) -> bool:
    """Whether a pattern is of a host; a star does not reach across dots, two do."""
    parts = re.split(r"(\*+)", pattern)
    spelled = "".join(
        ".*" if part.startswith("**") else "[^.]*" if part == "*" else re.escape(part) for part in parts
    )
    return re.fullmatch(spelled, host) is not None


def say(level: str, text: str) -> None:
    """Write a line of the log."""
    print(f"{level} {text}", file=sys.stderr, flush=True)


async def serve(places: Places) -> None:
    """Run on that file until cancelled. Raises Fatal and OSError."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        await Sidecar(places, session).run()
