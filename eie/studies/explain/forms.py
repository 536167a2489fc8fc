"""A network's layers in other forms: rows in another order, fewer weights; what each form reads.

Comes in: shared layers and the patterns of their inputs. Goes out: shared layers with the patterns that
belong to them. Read by `bench`, which encodes and times them.

Weights are clustered once. Time and energy follow the pattern alone, so a form keeps the codes of what it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.balance import even_shares, permute
from eie.compression.pruning.prune import kept_count
from eie.compression.share import ShareReport
from eie.errors import RecipeError
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns
from eie.model.network import Network
from eie.model.trace import Trace
from eie.studies.explain.band import Band, band_of
from eie.studies.explain.window import CutFrom, columns_in, window_of

Uses = Mapping[str, LayerTrace]


@dataclass(frozen=True)
class Pruning:
    """How much of a layer's weights stays, the largest; ``even``: as many in each PE."""

    share: float
    even: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Form:
    """A layer with what each of its uses reads, a bit an input; of a window, what it was cut from, nothing pruned.

    ``grown``: how many times as many products there are, where it has a band of them.
    """

    layer: Layer
    report: ShareReport
    uses: Uses
    cut_from: CutFrom | None = None
    grown: float = 1.0


class Forms:
    """All forms of a network's layers, made when they are asked for.

    Parameters
    ----------
    network
        How the layers feed each other.
    shared
        The layers, shared, with the reports of that.
    uses
        By layer: what each use reads.
    window
        Entries to which large fully connected layers are cut, for screening; None leaves all whole.
    grown
        By layer, where ``uses`` are a band of its products: how many times as many there are.
    """

    def __init__(
        self,
        network: Network,
        shared: Mapping[str, tuple[Layer, ShareReport]],
        uses: Mapping[str, Uses],
        *,
        window: int | None = None,
        grown: Mapping[str, float] | None = None,
    ) -> None:
        self.names = tuple(layer.name for layer in network.layers)
        self._network = network
        self._shared, self._uses = shared, uses
        self._orders: dict[int, dict[str, Form]] = {}
        self._weights: dict[str, NDArray[np.int64]] = {}
        self.window = window
        self.cut = self.larger_than(window) if window is not None else frozenset()
        # By layer and order of its rows; 0 is its own.
        self._windows: dict[tuple[str, int], Form] = {}
        self.grown = grown or {}

    def form(self, name: str, *, n_pe: int, permuted: bool, pruning: Pruning | None) -> Form:
        """Return a form of one layer; ``n_pe`` matters where rows move or PEs are to hold alike."""
        form = self._permuted(n_pe)[name] if permuted else self._plain(name)
        if self.window is not None and name in self.cut:
            place = name, n_pe if permuted else 0
            if place not in self._windows:
                layer, uses = window_of(form.layer, form.uses, entries=self.window)
                self._windows[place] = replace(form, layer=layer, uses=uses, cut_from=CutFrom.of(form.layer.matrix))
            form = self._windows[place]
        if name in self.grown:
            form = replace(form, grown=self.grown[name])
        return form if pruning is None else self._pruned(form, n_pe=n_pe, pruning=pruning)

    def moved(self, n_pe: int) -> tuple[str, ...]:
        """Return the layers whose rows another order moves; none where none can move."""
        try:
            permuted = self._permuted(n_pe)
        except RecipeError:
            return ()
        return tuple(name for name in self.names if permuted[name].layer is not self._shared[name][0])

    def heads(self, samples: int, window: int | None, band: int | None) -> Forms:
        """Return the same layers on the first samples only, perhaps cut to windows and bands."""
        few = {name: {use: rows.head(samples) for use, rows in uses.items()} for name, uses in self._uses.items()}
        bands = {} if band is None else Forms(self._network, self._shared, few, window=window).longer_than(band)
        # Before rows are moved: those of a few products are moved in a fraction of the time.
        few |= {name: {use: bands[name][use].of(read) for use, read in few[name].items()} for name in bands}
        grown = {name: next(iter(cut.values())).grown for name, cut in bands.items()}
        return Forms(self._network, self._shared, few, window=window, grown=grown)

    def longer_than(self, band: int) -> dict[str, Mapping[str, Band]]:
        """Return a band of so many broadcasts of each use, of the layers of which it is a part."""
        bands: dict[str, Mapping[str, Band]] = {}
        for name in self.names:
            if name in self.cut:
                continue
            geometry, uses = self._shared[name][0].geometry, self._uses[name]
            cut = {use: part for use, read in uses.items() if (part := band_of(geometry, read, band)) is not None}
            # One factor for all uses of a layer.
            if len(cut) == len(uses) and len({part.grown for part in cut.values()}) == 1:
                bands[name] = cut
        return bands

    def larger_than(self, window: int) -> frozenset[str]:
        """Return the layers of which a window of so many entries is a part."""
        layers = [layer for layer, _ in self._shared.values()]
        return frozenset(
            layer.name for layer in layers if columns_in(layer, self._uses[layer.name], window) < layer.matrix.shape[1]
        )

    @property
    def samples(self) -> int:
        """Samples that the inputs are of."""
        return next(iter(self._uses[self.names[0]].values())).samples

    def layer(self, name: str) -> Layer:
        """Return a layer, shared, in its own order."""
        return self._shared[name][0]

    def uses(self, name: str) -> Uses:
        """Return what each use of a layer reads, in its own order."""
        return self._uses[name]

    def weights(self, name: str) -> NDArray[np.int64]:
        """int64 (rows,): weights of each row of a layer."""
        if name not in self._weights:
            matrix = self._shared[name][0].matrix
            self._weights[name] = np.bincount(matrix.rows, minlength=matrix.shape[0])
        return self._weights[name]

    def _plain(self, name: str) -> Form:
        layer, report = self._shared[name]
        return Form(layer=layer, report=report, uses=self._uses[name])

    def _permuted(self, n_pe: int) -> dict[str, Form]:
        """Put all rows that can move in the order that `eie compress` would give them."""
        made = self._orders.get(n_pe)
        if made is None:
            made = self._orders[n_pe] = self._in_order(n_pe)
        return made

    def _in_order(self, n_pe: int) -> dict[str, Form]:
        if any(set(uses) != {name} for name, uses in self._uses.items()):
            raise RecipeError(["rows move only where each layer runs once"])
        trace = Trace(layers={name: uses[name] for name, uses in self._uses.items()})
        layers = tuple(self._shared[name][0] for name in self.names)
        moved = permute(replace(self._network, layers=layers, trace=trace), n_pe, outputs=True).network
        assert moved.trace is not None
        sizes = {name: uses[name].size for name, uses in self._uses.items()}
        return {
            layer.name: Form(
                layer=layer,
                report=self._shared[layer.name][1],
                # Columns in another order are still those of the same map.
                uses={layer.name: replace(moved.trace.layers[layer.name], size=sizes[layer.name])},
            )
            for layer in moved.layers
        }

    @staticmethod
    def _pruned(form: Form, *, n_pe: int, pruning: Pruning) -> Form:
        matrix = form.layer.matrix
        keep = kept_entries(magnitudes(form.layer), matrix.rows, n_pe=n_pe, pruning=pruning)
        return replace(form, layer=replace(form.layer, matrix=without(matrix, keep)))


def magnitudes(layer: Layer) -> NDArray[Any]:
    """Return the size of each stored weight; of shared ones, in its place, the rank of its level."""
    data: NDArray[Any] = layer.matrix.data
    if layer.codebook is None:
        sizes: NDArray[Any] = np.abs(data)
        return sizes
    # Levels of the same size have the same rank.
    _, rank = np.unique(np.abs(layer.codebook), return_inverse=True)
    ranks: NDArray[Any] = rank.astype(np.int16)[data]
    return ranks


def kept_entries(sizes: NDArray[Any], rows: NDArray[np.int32], *, n_pe: int, pruning: Pruning) -> NDArray[np.bool_]:
    """Say which entries stay: the largest of the layer, or with ``even`` of each PE, as many in each as can be."""
    many = n_pe if pruning.even else 1
    owner = rows % many
    stored = np.bincount(owner, minlength=many)
    counts = even_shares(kept_count(pruning.share, len(rows)), stored)
    # Ranks are small numbers, which numpy sorts in time of their count. The largest first; equal ones by their place.
    ranks = sizes if sizes.dtype.kind == "i" else np.unique(sizes, return_inverse=True)[1]
    levels = int(ranks.max(initial=0)) + 1
    key = owner.astype(np.int64) * levels + (levels - 1 - ranks)
    narrow = np.uint16 if many * levels <= 1 << 16 else np.int64
    order = np.argsort(key.astype(narrow), kind="stable")
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(stored) - stored, stored)
    keep = np.zeros(len(rows), bool)
    keep[order] = rank < np.repeat(counts, stored)
    return keep


def without(matrix: SparseColumns, keep: NDArray[np.bool_]) -> SparseColumns:
    """Return a matrix with some of its entries."""
    before = np.concatenate(([0], np.cumsum(keep)))
    return SparseColumns.of(
        shape=matrix.shape, starts=before[matrix.starts], rows=matrix.rows[keep], data=matrix.data[keep]
    )
