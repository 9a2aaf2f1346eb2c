"""Who asks for the same objects shares one informer."""

import random
from collections.abc import Iterable
from dataclasses import replace

from kagenti_operator.kube.auth.credentials import Connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from tests.support.widget import ALL_WIDGETS, WIDGETS, Widget


def sizes(obj: Widget) -> Iterable[str]:
    return (str(obj.size),)


def make_informers() -> SharedInformers:
    return SharedInformers(KubeClient(Connection("http://nobody.example")), random.Random(1))


def test_the_same_selection_has_one_informer() -> None:
    informers = make_informers()
    first = informers.get(Selection(resource=WIDGETS, namespace="team1", indexes=(("size", sizes),)))
    again = informers.get(Selection(resource=WIDGETS, namespace="team1", indexes=(("size", sizes),)))
    assert again is first
    assert informers.all() == (first,)


def test_what_selects_other_objects_or_indexes_them_otherwise_has_its_own() -> None:
    informers = make_informers()
    found = [
        informers.get(selection)
        for selection in (
            ALL_WIDGETS,
            replace(ALL_WIDGETS, namespace="team1"),
            replace(ALL_WIDGETS, label_selector="a=b"),
            replace(ALL_WIDGETS, name="x"),
            replace(ALL_WIDGETS, indexes=(("size", sizes),)),
        )
    ]
    assert informers.all() == tuple(found)
    assert len({id(informer) for informer in found}) == 5


def test_a_movable_informer_is_shared_by_where_it_begins() -> None:
    informers = make_informers()
    first = informers.get_movable(ALL_WIDGETS)
    assert informers.get_movable(ALL_WIDGETS) is first
    assert informers.get(ALL_WIDGETS) is not first
    assert first in informers.all()
