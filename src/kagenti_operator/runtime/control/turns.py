"""Keys that wait, of which the buckets take turns: one with many does not keep the others waiting."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Set


class Turns[K: Hashable]:
    """Each key waits once; within a bucket in order of arrival."""

    def __init__(self, bucket: Callable[[K], Hashable] | None) -> None:
        """`bucket` names the bucket of a key; without it there is one."""
        self._bucket = bucket
        self._waiting: OrderedDict[Hashable, OrderedDict[K, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting(self, bucket: Hashable) -> int:
        """How many keys of a bucket wait."""
        return len(self._waiting.get(bucket, ()))

    @property
    def buckets(self) -> Set[Hashable]:
        """Of which some key waits."""
        return self._waiting.keys()

    def add(self, key: K) -> None:
        """Have it wait; nothing happens where it does already."""
        self._waiting.setdefault(self.bucket_of(key), OrderedDict())[key] = None

    def postpone(self, bucket: Hashable) -> None:
        """Let all other buckets come before this one, which has some that wait."""
        self._waiting.move_to_end(bucket)

    def discard(self, key: K) -> None:
        """It waits no longer, if it did."""
        bucket = self.bucket_of(key)
        keys = self._waiting.get(bucket)
        if keys is None:
            return
        keys.pop(key, None)
        if not keys:
            del self._waiting[bucket]

    def pop(self, full: Set[Hashable] = frozenset()) -> K:
        """Take the first of the bucket whose turn it is, but of none that is full.

        Raises StopIteration where none waits.
        """
        bucket = next(bucket for bucket in self._waiting if bucket not in full)
        keys = self._waiting[bucket]
        key, _ = keys.popitem(last=False)
        if keys:
            self._waiting.move_to_end(bucket)
        else:
            del self._waiting[bucket]
        return key

    def clear(self) -> None:
        """None waits any more."""
        self._waiting.clear()

    def bucket_of(self, key: K) -> Hashable:
        """The bucket of a key."""
        return self._bucket(key) if self._bucket else None
