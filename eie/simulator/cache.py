"""Values that are dear to make, kept while there is room.

Comes in: keys and functions that make what is missing. Goes out: the values. Read by `stages`, where a sweep, the
paper's bench or a search asks for the same pieces again and again.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
# 1 GiB; see `held_bytes` for what is weighed.
BUDGET_BYTES = 1 << 30
# What a value takes beside its arrays, with its key: counts of a small layer or a plan are five to ten kilobytes of
# records. Unweighed, those of a million points were never dropped.
ENTRY_BYTES = 8192
# Of the budget. Counts are made from encodings ten thousand times as large: dropped by age alone, both went together,
# and figures that ask for the same counts one after the other had every layer encoded again.
SMALL = 2.0**-12
# Of the budget, for all small values together: a sweep of many points makes them without end and asks for few again.
ALL_SMALL = 0.25


class Cache:
    """Values made once a key, least recently used ones dropped beyond a budget, large ones first; safe for threads.

    Threads that ask for the same key wait for the first of them; different keys are made side by side. A failure is
    handed to all who wait, and forgotten.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        # A future is put in before its value exists: that is what others wait for.
        self._kept: dict[Hashable, Future[Any]] = {}
        # Sizes of values that exist, least recently used first. Two queues, so that none is searched.
        self._large: OrderedDict[Hashable, int] = OrderedDict()
        self._small: OrderedDict[Hashable, int] = OrderedDict()
        self._all_large = self._all_small = 0
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of ``key``, made now if need be."""
        # One value is the case of several with one name, so that locking and failing are written once.
        values: dict[str, T] = self.get_all({"value": key}, lambda _: {"value": make()})
        return values["value"]

    def get_all(
        self, keys: Mapping[str, Hashable], make: Callable[[tuple[str, ...]], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the values of several keys; ``make`` is called once, with the names of those that are missing.

        Two values that come out of one walk over the data are then made in one walk, whichever of them is there.
        """
        futures: dict[str, Future[Any]] = {}
        missing: list[str] = []
        with self._lock:
            for name, key in keys.items():
                future = self._kept.get(key)
                if future is None:
                    future = self._kept[key] = Future()
                    missing.append(name)
                else:
                    self._touch(key)
                futures[name] = future
        # What is ours is made before others are waited for: two threads that miss halves of each other cannot block.
        if missing:
            self._fill({name: (keys[name], futures[name]) for name in missing}, make)
        return {name: future.result() for name, future in futures.items()}

    def _fill(
        self,
        promised: Mapping[str, tuple[Hashable, Future[Any]]],
        make: Callable[[tuple[str, ...]], Mapping[str, Any]],
    ) -> None:
        try:
            values = make(tuple(promised))
        # Ctrl-C too: whoever waits for a future that nobody fills would wait for ever.
        except BaseException as error:
            with self._lock:
                for key, _ in promised.values():
                    del self._kept[key]
            # Dropped from the table before it fails: who asks from now on makes it anew, who waits already gets the
            # error.
            for _, future in promised.values():
                future.set_exception(error)
            raise
        for name, (key, future) in promised.items():
            # Weighed before it is handed out; dropping a key takes nothing from those who hold its future.
            self._keep(key, held_bytes(values[name]))
            future.set_result(values[name])

    def _touch(self, key: Hashable) -> None:
        for queue in (self._large, self._small):
            # In neither: still being made.
            if key in queue:
                queue.move_to_end(key)

    def _keep(self, key: Hashable, arrays: int) -> None:
        size = arrays + ENTRY_BYTES
        with self._lock:
            if arrays > self._budget * SMALL:
                self._large[key] = size
                self._all_large += size
            else:
                self._small[key] = size
                self._all_small += size
            while self._all_small > self._budget * ALL_SMALL:
                self._drop_small()
            while self._large and self._all_large + self._all_small > self._budget:
                oldest, freed = self._large.popitem(last=False)
                self._all_large -= freed
                del self._kept[oldest]

    def _drop_small(self) -> None:
        oldest, freed = self._small.popitem(last=False)
        self._all_small -= freed
        del self._kept[oldest]


def held_bytes(value: object) -> int:
    """Bytes of the arrays in a record, a list or a tuple of them; each array once."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, list | tuple):
        return sum(map(held_bytes, value))
    if isinstance(value, Mapping):
        return sum(map(held_bytes, value.values()))
    if dataclasses.is_dataclass(value):
        # `vars` and not the fields: tables that a cached property has made lie there too and take the same room.
        return sum(map(held_bytes, vars(value).values()))
    return 0
