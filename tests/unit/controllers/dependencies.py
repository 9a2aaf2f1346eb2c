"""What controllers are given, with caches that a test fills."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from kagenti_operator.controllers.agents.experiments import RETRIES
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.credentials import Connection
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.runtime.cache.object_cache import key_of
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.control.controller import Watched
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.metrics import Metrics


@asynccontextmanager
async def open_dependencies(
    settings: Settings, api_server: str = "http://unused.example"
) -> AsyncGenerator[Dependencies]:
    rng = random.Random(7)
    mlflow = MLflowClient(token=FixedToken("token"), rng=rng)
    agents_mlflow = MLflowClient(token=FixedToken("token"), rng=rng, policy=RETRIES)
    async with KubeClient(Connection(api_server)) as client:
        events = EventRecorder(client, instance="tests", rng=rng)
        yield Dependencies(
            settings=settings,
            client=client,
            unfenced=client,
            informers=SharedInformers(client, rng),
            mlflow=mlflow,
            agents_mlflow=agents_mlflow,
            events=events,
            unfenced_events=events,
            metrics=Metrics(),
            rng=rng,
        )
    await mlflow.close()
    await agents_mlflow.close()


def put[T: KubeObject](informer: Watched[T], *objects: T) -> None:
    for obj in objects:
        informer.cache.put(key_of(obj), obj)
