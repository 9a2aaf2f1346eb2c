"""The informers that several may share."""

import random
from collections.abc import Sequence
from typing import Any, cast

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.merged_informer import MergedInformer
from kagenti_operator.runtime.cache.movable_informer import MovableInformer
from kagenti_operator.runtime.cache.object_cache import Selection


class SharedInformers:
    """One informer per selection, made when somebody first asks for it."""

    def __init__(self, client: KubeClient, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self._informers: dict[Selection[Any], Informer[Any]] = {}
        self._merged: dict[tuple[Selection[Any], ...], MergedInformer[Any]] = {}
        self._movable: dict[Selection[Any], MovableInformer[Any]] = {}

    def get[T: KubeObject](self, selection: Selection[T]) -> Informer[T]:
        """Return the informer of that selection."""
        known = self._informers.get(selection)
        if known is None:
            known = self._informers[selection] = Informer(self._client, selection, self._rng)
        return cast("Informer[T]", known)

    def get_any[T: KubeObject](self, selections: Sequence[Selection[T]]) -> Informer[T] | MergedInformer[T]:
        """Return what follows the objects that any of these select by their labels; one is just itself."""
        informers = [self.get(selection) for selection in dict.fromkeys(selections)]
        if len(informers) == 1:
            return informers[0]
        key = tuple(informer.selection for informer in informers)
        known = self._merged.get(key)
        if known is None:
            known = self._merged[key] = MergedInformer(informers)
        return cast("MergedInformer[T]", known)

    def get_movable[T: KubeObject](self, selection: Selection[T]) -> MovableInformer[T]:
        """Return the informer that follows that selection at first; whoever asked may move it."""
        known = self._movable.get(selection)
        if known is None:
            known = self._movable[selection] = MovableInformer(self._client, selection, self._rng)
        return cast("MovableInformer[T]", known)

    def all(self) -> tuple[Informer[Any], ...]:
        """Return every informer that was asked for."""
        return (*self._informers.values(), *self._movable.values())
