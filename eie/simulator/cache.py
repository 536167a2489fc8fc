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
# 1 GiB. Arrays only are weighed; see `held_bytes`.
BUDGET_BYTES = 1 << 30
# Of the budget. Counts are made from encodings ten thousand times as large: dropped by age alone, both went together,
# and figures that ask for the same counts one after the other had every layer encoded again.
SMALL = 2.0**-12


class Cache:
    """Values made once a key, least recently used ones dropped beyond a budget, large ones first; safe for threads.

    Threads that ask for the same key wait for the first of them; different keys are made side by side. A failure is
    handed to all who wait, and forgotten.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        # Least recently used first. A future is put in before its value exists: that is what others wait for.
        self._kept: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._total = 0
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
                    self._kept.move_to_end(key)
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

    def _keep(self, key: Hashable, size: int) -> None:
        with self._lock:
            self._sizes[key] = size
            self._total += size
            while self._total > self._budget:
                oldest = self._oldest(self._budget * SMALL)
                self._total -= self._sizes.pop(oldest)
                del self._kept[oldest]

    def _oldest(self, small: float) -> Hashable:
        """The least recently used of the large values, of the small ones where no other is left."""
        # A bare number takes no room worth having back; what is still being made has no size yet.
        sized = [key for key in self._kept if self._sizes.get(key)]
        return next((key for key in sized if self._sizes[key] > small), sized[0])


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
