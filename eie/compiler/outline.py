"""What planning the maps needs of a layer, with its images or without.

Comes in: an `EncodedLayer` or a `Demand`. Goes out: nothing; two protocols. Read by `eie.compiler.maps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eie.model.geometry import Geometry, Scatter


class PassOutline(Protocol):
    """A pass."""

    @property
    def inputs(self) -> int: ...


class Outline(Protocol):
    """A layer."""

    @property
    def name(self) -> str: ...
    @property
    def geometry(self) -> Geometry: ...
    @property
    def scatter(self) -> Scatter | None: ...
    @property
    def channels_a_pe(self) -> Sequence[int]: ...
    @property
    def passes(self) -> Sequence[PassOutline]: ...
