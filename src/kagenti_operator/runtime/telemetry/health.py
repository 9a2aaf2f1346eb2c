"""The probes: `/healthz` says whether to restart the process, `/readyz` whether it does its job.

Each check has a name under which it can be asked alone (`/healthz/leader`); `?verbose` lists them all, as
with every other Kubernetes component. `/readyz` also has notes, which change no status.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiohttp import web

# Returns None when all is well, else what is wrong.
type Check = Callable[[], str | None]


class Health:
    """The named checks of both probes. That an answer comes at all shows that the event loop turns."""

    def __init__(self) -> None:
        self.alive: dict[str, Check] = {"ping": lambda: None}
        self.ready: dict[str, Check] = {}
        # What people should know though the process does its job.
        self.notes: dict[str, Check] = {}
        # What `?verbose` tells as well, in lines of its own.
        self.details: dict[str, Callable[[], str]] = {}

    def build_app(self) -> web.Application:
        """Return the web application that serves `/healthz` and `/readyz`."""
        app = web.Application()
        for probe, checks, notes, details in (
            ("healthz", self.alive, {}, {}),
            ("readyz", self.ready, self.notes, self.details),
        ):
            app.router.add_get(f"/{probe}", _answer(probe, checks, notes, details))
            app.router.add_get(f"/{probe}/{{check}}", _answer(probe, checks, {}, {}))
        return app


def judge(probe: str, checks: Mapping[str, Check]) -> tuple[bool, str]:
    """Ask every check; return whether all passed, and a line about each."""
    answers = {name: check() for name, check in checks.items()}
    lines = [f"[-]{name} failed: {a}" if a else f"[+]{name} ok" for name, a in answers.items()]
    passed = not any(answers.values())
    return passed, "\n".join([*lines, f"{probe} check {'passed' if passed else 'failed'}", ""])


def _answer(
    probe: str,
    checks: Mapping[str, Check],
    notes: Mapping[str, Check],
    details: Mapping[str, Callable[[], str]],
) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        name = request.match_info.get("check")
        if name is not None and name not in checks:
            raise web.HTTPNotFound(text=f"{probe} has no check {name}\n")
        passed, lines = judge(probe, checks if name is None else {name: checks[name]})
        noted = "".join(f"[!]{name}: {text}\n" for name, note in notes.items() if (text := note()))
        if not passed:
            return web.Response(text=noted + lines, status=500)
        if "verbose" in request.query:
            return web.Response(text=noted + lines + "".join(detail() for detail in details.values()))
        return web.Response(text=f"ok\n{noted}" if noted else "ok")

    return answer
