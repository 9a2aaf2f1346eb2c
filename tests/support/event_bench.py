"""An event recorder, and an API server that takes what it sends or refuses it."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from tests.support.virtual_time import settle

AGENT = ObjectRef(api_version="apps/v1", kind="Deployment", name="weather", namespace="team1", uid="u1")


class Sent:
    """Takes what the recorder sends, or refuses it."""

    def __init__(self) -> None:
        self.created: list[Mapping[str, Any]] = []
        self.patched: list[tuple[str, int]] = []
        self.failures: list[KubeError] = []
        # By the text that always fails.
        self.failing: Mapping[str, KubeError] = {}
        self.tries = 0

    def _fail(self) -> None:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)

    async def create(self, resource: Resource[KubeObject], body: Mapping[str, Any]) -> KubeObject:
        assert resource.path("x") == "/apis/events.k8s.io/v1/namespaces/x/events"
        self._fail()
        if failure := self.failing.get(body["note"]):
            raise failure
        self.created.append(body)
        return KubeObject(metadata=ObjectMeta(name=body["metadata"]["name"]))

    async def merge_patch(
        self,
        resource: Resource[KubeObject],
        name: str,
        body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> KubeObject:
        del resource, namespace
        self._fail()
        self.patched.append((name, body["series"]["count"]))
        return KubeObject(metadata=ObjectMeta(name=name))


class EventBench:
    def __init__(self) -> None:
        self.sent = Sent()
        self.recorder = EventRecorder(self.sent, instance="pod-1", rng=random.Random(1))

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[None]:
        run = asyncio.create_task(self.recorder.run())
        try:
            yield
            await settle()
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
