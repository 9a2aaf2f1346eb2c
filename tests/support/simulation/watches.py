"""Open watches of the model API server: what they select, in order, however late."""

import asyncio
from collections.abc import Callable

from tests.support.simulation.kinds import Kind, Selector
from tests.support.simulation.loop import WORLD
from tests.support.simulation.merge import Object
from tests.support.simulation.store import Change
from tests.support.simulation.wire import (
    END_OF_STREAM,
    TRAVEL_SECONDS,
    Line,
    encode_chunk,
    encode_stream_head,
    to_json,
)

BOOKMARK_SECONDS = 60.0


def event_of(change: Change, selector: Selector) -> tuple[str, Object] | None:
    """What a watch shows of a change, None where it concerns nothing that is selected."""
    before = change.before is not None and selector.matches(change.before)
    after = change.after is not None and selector.matches(change.after)
    if after:
        return ("MODIFIED" if before else "ADDED"), change.object
    if not before or change.before is None:
        return None
    # What left the selection is shown as it was, at the version of the change.
    metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
    return "DELETED", {**change.before, "metadata": metadata}


class Watch:
    """One stream of events."""

    def __init__(
        self, kind: Kind, selector: Selector, line: Line, seconds: float, lag: Callable[[], float]
    ) -> None:
        """`lag`: how many seconds later than it happens an event is sent now."""
        self.kind = kind
        self.selector = selector
        self.line = line
        self.silent = False
        self._lag = lag
        self._due = 0.0
        self._version = 0
        self._loop = asyncio.get_running_loop()
        self._timers = [
            self._loop.call_later(seconds, self.end, context=WORLD),
            self._loop.call_later(BOOKMARK_SECONDS, self._bookmark, context=WORLD),
        ]
        line.send(encode_stream_head())

    def take(self, change: Change) -> None:
        """Send the change, in its turn."""
        found = event_of(change, self.selector) if change.kind is self.kind else None
        if found:
            event, obj = found
            self._version = change.version
            self._schedule({"type": event, "object": obj})

    def refuse(self, status: Object) -> None:
        """End the stream with the reason in it."""
        self._schedule({"type": "ERROR", "object": status})
        self.end()

    def end(self) -> None:
        """The server ends the stream, as it said that it would."""
        if not self.silent:
            self.line.send(END_OF_STREAM, self._delay())
            # Whoever reads to the end may use the connection again.
            self.line.on_close = None
            self.close()

    def close(self) -> None:
        """Nothing more is sent."""
        self.silent = True
        for timer in self._timers:
            timer.cancel()

    def show_version(self, version: int) -> None:
        """Up to this version everything was sent, as the next bookmark says."""
        self._version = max(self._version, version)

    def _bookmark(self) -> None:
        if self.silent:
            return
        meta = {"resourceVersion": str(self._version), "name": "", "creationTimestamp": None}
        bookmark = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": meta}
        self._schedule({"type": "BOOKMARK", "object": bookmark})
        self._timers[1] = self._loop.call_later(BOOKMARK_SECONDS, self._bookmark, context=WORLD)

    def _schedule(self, event: Object) -> None:
        if not self.silent:
            self.line.send(encode_chunk(to_json(event) + b"\n"), self._delay())

    def _delay(self) -> float:
        """Events keep their order, whatever the lag of each."""
        now = self._loop.time()
        self._due = max(self._due + 1e-6, now + TRAVEL_SECONDS + self._lag())
        return self._due - now
