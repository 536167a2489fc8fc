"""What every geometry answers: the questions that the rest of the package asks of a layer's kind.

Comes in: shapes and arrays. Goes out: `Geometry`, of which each kind is a frozen dataclass in a file of its own;
`Recurrent` for kinds whose later inputs are earlier results; `Alternative` for a second way to lower an existing kind.
Read by everything that handles layers. Nothing here multiplies weights with activations: whoever does hands in a
``product``.

A sample has *open sizes*, those that the layer does not fix: height and width of a map, steps of a sequence, none of a
vector. A *row* is what one pass over the matrix reads; a sample has as many as its `products` says.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry.dense_form import DenseForm
from eie.model.matrix import SparseColumns
from eie.show.brief import Brief

if TYPE_CHECKING:
    from torch import Tensor

# Of a kernel, stride, pad or count of channels: they come from files, and damage shows here.
LARGEST_SIZE = 1 << 20

Array = NDArray[Any]
Product = Callable[[Array], Array]


class Geometry(ABC):
    """What a layer's matrix is the lowered form of.

    A kind must state `matrix_shape`, `entrance` and `windows`; the rest has an answer that is right for a kind whose
    stored weights are its matrix and whose channels come last, and that refuses what would need to be known.

    Attributes
    ----------
    products_per_row
        Independent matrices on the diagonal that are encoded one by one; a row of inputs is one product with each.
    bias_block
        Which of them adds the bias.
    transforms
        Whether rows and results are sums of what they are made of, so that fixed point needs more bits for them.
    width_hint
        What to tell someone whose recorded rows do not have the matrix's width.
    """

    products_per_row: ClassVar[int] = 1
    bias_block: ClassVar[int] = 0
    transforms: ClassVar[bool] = False
    width_hint: ClassVar[str] = ""

    # -- its matrix ------------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """How reports and records call it."""
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def matrix_shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the lowered matrix."""

    @property
    def dense_shape(self) -> tuple[int, int]:
        """(outputs, weights of each) before pruning; what is zero by design is no weight."""
        return self.matrix_shape

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights as frameworks and model files hold them."""
        return self.matrix_shape

    @property
    def diagonal_blocks(self) -> int:
        """Blocks on the diagonal that hold all weights; 1 if the whole matrix may."""
        return self.products_per_row

    def spread(self, flat: SparseColumns) -> SparseColumns:
        """Return the lowered matrix of weights stored as `weight_shape`, flattened to (outputs, rest)."""
        return flat

    @property
    def spread_blocks(self) -> int:
        """Blocks on the diagonal, of as many rows each, that `spread` moves weights to; 1 where it does not."""
        return 1

    def gathered(self, matrix: SparseColumns) -> SparseColumns:
        """Undo `spread`."""
        return matrix

    def fitted(self, shape: tuple[int, int]) -> Geometry:
        """Return the geometry for a matrix of ``shape``: itself, unless it is whatever the matrix is."""
        del shape
        return self

    # -- its inputs and outputs ------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def entrance(self) -> tuple[int, ...]:
        """Shape of one sample, -1 for an open size."""

    @property
    def channels(self) -> tuple[int, int]:
        """(outputs, inputs) as a user counts them: channels of maps, sizes of vectors."""
        return self.matrix_shape

    @property
    def takes_vectors(self) -> bool:
        """Whether a sample is one vector, and so one product."""
        return len(self.entrance) == 1

    @property
    def takes_maps(self) -> bool:
        """Whether a sample is a feature map (channels, height, width)."""
        return len(self.entrance) == 3

    @property
    def recurrence(self) -> Recurrent | None:
        """Itself if its rows depend on earlier products, None if all of them can be made at once."""
        return None

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the open sizes of a batch of ``shape``, batch first."""
        return tuple(shape[1:-1])

    def output_size(self, *sizes: int) -> tuple[int, ...]:
        """Open sizes of the output."""
        return sizes

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the output for inputs of ``shape``, batch first."""
        return (shape[0], *self.output_size(*self.sizes(shape)), self.channels[0])

    def products(self, *sizes: int) -> int:
        """Rows of one sample with these open sizes."""
        return math.prod(self.output_size(*sizes))

    @classmethod
    def products_and_steps(cls, rows: int) -> tuple[int, int]:
        """Split the rows of a sample into those that can run side by side and those that must wait for each other."""
        return rows, 1

    @property
    def fresh_inputs(self) -> int | None:
        """Of the inputs of one product of one block, those that no earlier one has read; None if that is all."""
        return None

    # -- its numbers -----------------------------------------------------------------------------------------------

    @abstractmethod
    def windows(self, x: Array) -> Array:
        """Return what all products of a batch see, batch first, without copying it: `unroll` takes rows out of it.

        Raises
        ------
        ModelError
            If ``x`` has another shape than `entrance` behind the batch.
        """

    def unroll(self, windows: Array, start: int, stop: int) -> Array:
        """Copy rows start..stop-1 out of `windows`, (stop - start, inputs), so that nothing is unrolled as a whole."""
        # A view where the rows lie in memory as they are: only kinds that gather their rows have to copy.
        return windows.reshape(-1, self.matrix_shape[1])[start:stop]

    def rows(self, windows: Array) -> int:
        """Count the rows in `windows`."""
        return windows.size // self.matrix_shape[1]

    def fold(self, rows: Array, n: int, size: tuple[int, ...]) -> Array:
        """Turn results (rows of ``n`` samples, outputs) into a batch of outputs; ``size`` is its `output_size`."""
        return rows.reshape(n, *size, -1)

    def apply(self, x: Array, product: Product, step: int) -> Array:
        """Compute a batch with ``product``, rows (M, inputs) to (M, outputs), at most ``step`` of them at a time."""
        windows = self.windows(x)
        # Rows of all samples run on through the parts: a part may end in the middle of a sample.
        count = self.rows(windows)
        # `step` rows at a time bound the memory: unrolled, a map is as many times larger as a kernel has places.
        parts = [product(self.unroll(windows, start, min(start + step, count))) for start in range(0, count, step)]
        return self.fold(np.concatenate(parts), len(x), self.output_size(*self.sizes(x.shape)))

    def recorded(self, x: Array, outputs: Array | None) -> Array:
        """Return the rows (..., inputs) of a batch as a framework gave it, with what the layer made of it if known."""
        # Only kinds whose rows hold earlier results need it; all are called alike.
        del outputs
        windows = self.windows(x)
        return self.unroll(windows, 0, self.rows(windows))

    def torch_forward(self, batch: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Compute a batch in torch with the lowered matrix; None if this kind is not trained here."""
        del batch, weight, bias
        return None

    def dense_form(self, weights: Array, products: int, batch: int) -> DenseForm | None:
        """Return the layer as one ONNX operator, for a batch of samples of so many products; None if there is none.

        Parameters
        ----------
        weights
            (outputs, weights of each), zeros in place: the lowered matrix `gathered`. Which open sizes make so many
            products is chosen here.
        """
        del weights, products, batch
        return None

    # -- taking channels out ---------------------------------------------------------------------------------------

    @property
    def tied(self) -> str | None:
        """What a layer is whose channels cannot be taken out, as in "a grouped convolution"; None if they can."""
        return f"a {type(self).__name__} layer"

    @property
    def keeps_shape(self) -> bool:
        """Whether outputs have the shape of inputs, so that the layer could be left out."""
        return False

    def columns_per_channel(self, channels: int) -> int:
        """Columns that read one of ``channels`` channels of the layer before."""
        # After a flattening, each channel is a block of equally many columns.
        return self.matrix_shape[1] // channels

    def with_outputs(self, count: int) -> Geometry:
        """Return the geometry with ``count`` output channels."""
        raise ModelError(f"{self.tied}: its outputs are tied, {count} of them cannot be taken")

    def with_inputs(self, channels: int, before: int) -> Geometry:
        """Return the geometry where the layer before has ``channels`` channels, ``before`` of them until now."""
        raise ModelError(f"{self.tied}: its inputs are tied, {channels} of {before} cannot be taken")

    # -- as plain numbers ------------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any] | None:
        """Return plain numbers ready for JSON; `from_numbers` reads them, without ``kind``."""
        # The class's own name, not `kind`: files are read back by it, reports have the lower case.
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> Self:
        """Undo `description`; JSON has lists where a geometry has tuples."""
        return cls(**{key: tuple(item) if isinstance(item, list) else item for key, item in numbers.items()})


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Walk(Brief):
    """What a recurrent geometry did over T steps.

    Attributes
    ----------
    rows
        (N, T, inputs) of its products.
    outputs
        float64 (N, T, outputs).
    last
        The state after the last step; its first part is what the next row would hold.
    """

    rows: Array
    outputs: NDArray[np.float64]
    last: tuple[NDArray[np.float64], ...]


class Recurrent(Geometry):
    """A geometry whose rows hold results of earlier products, so that they are made one step after the other."""

    def order(self, steps: int) -> Sequence[int]:
        """Return the steps in the order in which they are walked."""
        return range(steps)

    @property
    def recurrence(self) -> Recurrent:
        """Itself."""
        return self

    def windows(self, x: Array) -> Array:
        """Refuse: a row holds what the product before it led to."""
        raise ModelError(f"the rows of {self} are made step by step, not of inputs {x.shape} alone")

    @classmethod
    def products_and_steps(cls, rows: int) -> tuple[int, int]:
        """One product a step."""
        return 1, rows

    @abstractmethod
    def check(self, x: Array) -> None:
        """Raise `ModelError` unless ``x`` is a batch of sequences (N, T, ...) that fits."""

    @abstractmethod
    def initial_state(self, n: int, stated: Sequence[Array]) -> tuple[NDArray[np.float64], ...]:
        """Return the state before the first step: as stated, or zeros if nothing is; its first part enters the rows.

        Raises
        ------
        ModelError
            If what is stated has other shapes.
        """

    @abstractmethod
    def walk(
        self,
        x: Array,
        state: tuple[NDArray[np.float64], ...],
        *,
        product: Product,
        stored: Callable[[NDArray[np.float64]], Array],
    ) -> Walk:
        """Walk the steps of a batch (N, T, ...); ``stored`` brings a state into the number format of the rows."""


class Alternative(Geometry):
    """A geometry that computes what another one does, by another matrix.

    Attributes
    ----------
    words
        What notes call it.
    """

    words: ClassVar[str]

    @classmethod
    @abstractmethod
    def instead_of(cls, geometry: Geometry) -> Self | None:
        """Return the geometry that computes the same as ``geometry``; None where this way does not apply."""

    @abstractmethod
    def transformed(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32] | None
    ) -> tuple[SparseColumns, NDArray[np.float32] | None]:
        """Return matrix and bias for weights as the other geometry stores them."""


def is_size(value: object, least: int) -> bool:
    """Whether ``value`` is an integer from ``least`` to `LARGEST_SIZE`: sizes come from files."""
    # numpy's integers too: importers read sizes off arrays.
    return isinstance(value, int | np.integer) and least <= int(value) <= LARGEST_SIZE
