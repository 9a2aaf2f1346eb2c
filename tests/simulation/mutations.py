"""Faults that are put back into the operator on purpose, each of which the simulation has to find."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any
from unittest.mock import patch

from kagenti_operator import clock
from kagenti_operator.controllers.agents.controller import AgentsReconciler
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.resources import ROLE_BINDINGS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import ObjectCache
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership, LeadershipLost

type Mutation = Callable[[], AbstractContextManager[Any]]


def _wrap(owner: Any, name: str, build: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    """Put what `build` makes of a function in its place."""
    return patch.object(owner, name, build(getattr(owner, name)))


def watch_resumes_without_a_relist_after_410() -> AbstractContextManager[Any]:
    """It goes on from the newest version, and what happened meanwhile is lost."""

    def build(original: Any) -> Any:
        async def take_only_the_version(self: Any, state: Any) -> Any:
            if not self._complete:
                return await original(self, state)
            with patch.object(self.cache, "adopt"), patch.object(self.cache, "put"):
                return await original(self, state)

        return take_only_the_version

    return _wrap(Informer, "_list", build)


def relist_keeps_what_is_gone() -> AbstractContextManager[Any]:
    """What was deleted while nobody watched stays in the cache."""

    def build(original: Any) -> Any:
        def adopt(self: Any, listed: Any) -> None:
            for key in tuple(self.all_keys()):
                if key not in listed:
                    self.keep(key, listed)
            original(self, listed)

        return adopt

    return _wrap(ObjectCache, "adopt", build)


def event_of_a_deleted_object_is_lost() -> AbstractContextManager[Any]:
    def remove(*_: Any) -> None:
        """Not done."""

    return patch.object(ObjectCache, "remove", remove)


def only_the_first_page_of_a_list_is_taken() -> AbstractContextManager[Any]:
    def build(original: Any) -> Any:
        async def list_page(*args: Any, **options: Any) -> Any:
            page = await original(*args, **options)
            return type(page)(items=page.items, resource_version=page.resource_version)

        return list_page

    return _wrap(KubeClient, "list_page", build)


def silent_watch_is_believed_for_ever() -> AbstractContextManager[Any]:
    def build(original: Any) -> Any:
        def init(*args: Any, **options: Any) -> None:
            original(*args, **{**options, "silence_seconds": 1e6})

        return init

    return _wrap(Informer, "__init__", build)


def delete_ignores_the_uid() -> AbstractContextManager[Any]:
    def build(original: Any) -> Any:
        async def delete(self: Any, resource: Any, name: str, namespace: Any = None, **_: Any) -> Any:
            return await original(self, resource, name, namespace)

        return delete

    return _wrap(KubeClient, "delete", build)


def binding_is_written_before_its_role() -> AbstractContextManager[Any]:
    async def grant(self: Any, grant: Any) -> bool:
        binding, known, replaced = grant.binding, grant.known_binding, grant.replaced
        wrote = await self._applier.ensure(ROLE_BINDINGS, binding, known, replaced=replaced)
        return await self._applier.ensure(self._facts.roles.resource, grant.role, grant.known_role) or wrote

    return patch.object(AgentsReconciler, "_grant", grant)


def workload_is_configured_before_it_is_granted_anything() -> AbstractContextManager[Any]:
    def build(original: Any) -> Any:
        async def carry_out(self: Any, observed: Any, plan: Any, reports: Any) -> Any:
            if plan.change and observed.agent:
                await self._workloads.change(observed, observed.agent, plan.change)
            return await original(self, observed, plan, reports)

        return carry_out

    return _wrap(AgentsReconciler, "_carry_out", build)


def leader_writes_after_it_lost_its_lease() -> AbstractContextManager[Any]:
    """Once it led, it believes that it does."""

    async def renew(self: Any) -> None:
        while True:
            await asyncio.sleep(self._settings.retry_period)
            with suppress(LeadershipLost):
                await self._try(self._renew_once(), self._settings.attempt_timeout)
            self._leadership.hold_until(clock.monotonic() + self._settings.renew_deadline)

    return patch.object(LeaderElector, "_renew", renew)


def leader_that_was_stopped_writes_before_it_renews() -> AbstractContextManager[Any]:
    def held(self: Any) -> bool:
        return self._until is not None

    return patch.object(Leadership, "held", held)


def no_retry_after_5xx() -> AbstractContextManager[Any]:
    def build(original: Any) -> Any:
        def failed(self: Any, key: Any, error: Exception, *, bug: bool) -> None:
            if not (isinstance(error, ApiError) and error.status >= 500):
                original(self, key, error, bug=bug)

        return failed

    return _wrap(Controller, "_failed", build)


# And the first of the seeds to try: what is found only with the thirtieth need not cost the first ones.
MUTATIONS: Mapping[Mutation, int] = {
    watch_resumes_without_a_relist_after_410: 7,
    relist_keeps_what_is_gone: 5,
    event_of_a_deleted_object_is_lost: 1,
    only_the_first_page_of_a_list_is_taken: 19,
    silent_watch_is_believed_for_ever: 23,
    delete_ignores_the_uid: 6,
    binding_is_written_before_its_role: 30,
    workload_is_configured_before_it_is_granted_anything: 0,
    leader_writes_after_it_lost_its_lease: 25,
    leader_that_was_stopped_writes_before_it_renews: 25,
    no_retry_after_5xx: 5,
}
