"""Controllers with one key: any change of what they depend on wakes it, and so does the start."""

from collections.abc import Awaitable, Callable
from typing import Any

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable


def build_singleton(
    dependencies: Dependencies,
    name: str,
    reconcile: Callable[[], Awaitable[float | None]],
    *informers: Informer[Any],
    follows: tuple[Observable[Any], ...] = (),
) -> Controller[str]:
    """Build a controller that reconciles once, whatever changed."""

    async def reconcile_key(_: str) -> float | None:
        return await reconcile()

    controller = dependencies.controller(name, reconcile_key)
    for informer in informers:
        controller.watches(informer, lambda _: (name,))
    for observable in follows:
        controller.follows(observable, lambda: (name,))
    controller.enqueue(name)
    return controller
