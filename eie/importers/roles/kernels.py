"""How a kernel of three or four axes is stored, and whether it is a plain, depthwise or transposed convolution.

Comes in: the file's kernels in running order, with what biases, normalisations and names show. Goes out: kind, order
of axes and groups of each; what is in doubt. Read by `plans`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eie.importers.roles.families import FAMILIES
from eie.importers.roles.records import Kind

_TRANSPOSED = re.compile(r"transpose|conv_?trans|(^|[._])t(rans)?_?conv|deconv|convt\d*$|up_?conv|conv_?up|upscore")
# Said of what enlarges a map, by a transposed convolution or by copying and a plain one: the first has even windows.
_UP = re.compile(r"(^|[._])(ups?|upsample|upsampl(ing|er)s?)\d*([._]|$)")
_DEPTHWISE = re.compile(r"depthwise|dw_?conv|conv_?dw|(^|[._])dw\d*([._]|$)|(^|[._])mixer\.conv1d$")
_KERAS = re.compile(r"(^|[._])conv2d(_\d+)?$")
_CONV = re.compile(r"conv|cnn|tdnn|stem|patch|features|downsample|shortcut|kernel|(^|\.)\d+$|^layer\d*$|^arr_\d+$|proj")
_BILINEAR = re.compile(r"(^|[._])bil\d*([._]|$)|bilinear")
# Windows have seldom more rows: what looks like (11, 11, 3, 96) is (rows, columns, in, out).
_WIDEST_WINDOW = 11


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A stored kernel and what is known of it.

    Attributes
    ----------
    name
        The layer's.
    array
        The array's, in the file.
    alone
        Whether the layer has its name from the file, for want of one of its own.
    outputs
        Length of its bias or of the normalisation behind it; 0 where nothing shows it.
    before
        Outputs of the layer in front of it where they stand in one Sequential, else 0.
    stated
        The kind that the user said.
    known_groups
        Where the file says how many, else 0.
    upright
        Whether the format says that outputs come first.
    kind, axes, groups
        What is decided.
    sure
        Whether something other than habit says so.
    """

    name: str
    array: str
    family: str
    shape: tuple[int, ...]
    outputs: int
    alone: bool = False
    before: int = 0
    stated: str | None = None
    known_groups: int = 0
    upright: bool = False
    kind: Kind = "conv"
    axes: tuple[int, ...] = ()
    groups: int = 1
    sure: bool = True

    @property
    def window(self) -> tuple[int, ...]:
        """Kernel rows and columns."""
        return tuple(self.shape[axis] for axis in self.axes[2:])

    @property
    def channels(self) -> tuple[int, int]:
        """(outputs, inputs of a group), or for a transposed convolution (inputs, outputs of a group)."""
        return self.shape[self.axes[0]], self.shape[self.axes[1]]

    @property
    def made(self) -> int:
        """Outputs."""
        return self.channels[1] * self.groups if self.kind == "transposed" else self.channels[0]

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether its name does."""
        return pattern.search(self.name.lower()) is not None


def read(kernel: Kernel) -> Kernel:
    """Decide on one kernel by itself; `settle` compares it with the others."""
    plain = tuple(range(len(kernel.shape)))
    if kernel.stated == "bilinear" or (kernel.stated is None and len(plain) == 3 and kernel.says(_BILINEAR)):
        return replace(kernel, kind="bilinear", axes=plain)
    # (kh, kw, in, out); without rows (k, in, out).
    kernel = replace(kernel, axes=(plain[-1], plain[-2], *plain[:-2]) if _is_window_first(kernel) else plain)
    if kernel.stated == "transposed":
        return replace(kernel, kind="transposed", groups=max(kernel.outputs // max(kernel.channels[1], 1), 1))
    if kernel.stated is not None:
        return replace(kernel, groups=kernel.channels[0] if kernel.stated == "depthwise" else 1)
    return _by_evidence(kernel)


def _is_window_first(kernel: Kernel) -> bool:
    """Say whether a kernel is stored (rows, columns, in, out)."""
    if kernel.upright:
        return False
    first, second, last = kernel.shape[0], kernel.shape[1], kernel.shape[-1]
    if FAMILIES[kernel.family].kernels == "HWIO":
        # A bias is believed before a name: not every "kernel" comes from Keras.
        return kernel.outputs in (0, last, kernel.shape[-2]) or kernel.outputs != first
    if kernel.outputs:
        return kernel.outputs == last and kernel.outputs not in (first, second)
    # Windows are square far more often than 3 x 64.
    return len(kernel.shape) == 4 and kernel.shape[2] != last and first == second <= _WIDEST_WINDOW


def _by_evidence(kernel: Kernel) -> Kernel:
    out, into = kernel.channels
    named = kernel.says(_TRANSPOSED) or (kernel.says(_UP) and all(size % 2 == 0 for size in kernel.window))
    # A bias that is as long as one side only says which side the outputs are.
    if kernel.outputs == into != out:
        return replace(kernel, kind="transposed") if into > 1 or named else kernel
    if kernel.outputs == out != into and not (named and into == 1):
        # A Bilinear's bias is as long as its outputs, too.
        return replace(kernel, sure=len(kernel.shape) > 3 or kernel.says(_CONV))
    if named:
        return replace(kernel, kind="transposed", groups=_transposed_groups(kernel))
    if not kernel.outputs and kernel.before in (out, into) and out != into:
        return replace(kernel, kind="transposed" if kernel.before == out else "conv")
    return replace(kernel, sure=kernel.says(_CONV) and out != into)


def _transposed_groups(kernel: Kernel) -> int:
    out, into = kernel.channels
    if into == 1 < out:
        return out
    groups, odd = divmod(kernel.outputs, max(into, 1))
    return groups if groups and not odd and out % groups == 0 else 1


def settle(kernels: Sequence[Kernel]) -> tuple[list[Kernel], list[Kernel]]:
    """Decide for those that show nothing by those that do, and say which remain in doubt."""
    # Of one parent and one window: U-Nets have both kinds, with windows of their own.
    certain: dict[tuple[str, tuple[int, ...]], set[Kind]] = {}
    for kernel in kernels:
        if kernel.sure:
            certain.setdefault((_parent(kernel.name), kernel.window), set()).add(kernel.kind)
    known = any(kernel.sure and kernel.kind == "conv" for kernel in kernels)
    settled, doubts = [], []
    for kernel in kernels:
        if not kernel.sure and certain.get((_parent(kernel.name), kernel.window)) == {"transposed"}:
            settled.append(replace(kernel, kind="transposed", sure=True))
            continue
        settled.append(kernel)
        if not kernel.sure and kernel.stated is None and not known and "conv" not in kernel.name.lower():
            doubts.append(kernel)
    return settled, doubts


def must_ask(kernel: Kernel) -> bool:
    """Say whether a doubtful kernel has nothing at all, no name of its own, that says what it is."""
    # A Bilinear stands in no Sequential, and one that is called something with "conv" is none.
    return (kernel.alone or len(kernel.shape) == 3) and not kernel.says(_CONV)


def depthwise(kernels: Sequence[Kernel], *, layers: int, single_channel: bool) -> tuple[list[Kernel], list[str]]:
    """Give kernels (C, 1, k, k) a group for each channel, but for the convolution over a picture of one channel.

    Parameters
    ----------
    layers
        How many layers there are, convolutions or not.
    single_channel
        Whether recorded inputs show that the first layer reads one channel.

    Returns
    -------
    tuple
        The kernels, and the names of those taken as reading one channel.
    """
    narrow = [kernel for kernel in kernels if _is_narrow(kernel)]
    done: list[Kernel] = []
    first: list[str] = []
    for i, kernel in enumerate(kernels):
        if kernel.known_groups:
            done.append(replace(kernel, groups=kernel.known_groups))
        elif not _is_narrow(kernel):
            done.append(kernel)
        elif (single_channel and i == 0) or (layers > 1 and _begins(kernels, i, alone=len(narrow) == 1)):
            done.append(kernel)
            first.append(kernel.name)
        else:
            done.append(replace(kernel, groups=kernel.channels[0]))
    return done, first


def _is_narrow(kernel: Kernel) -> bool:
    """Say whether a kernel's groups have one input each, and nothing says how many groups there are."""
    out, into = kernel.channels
    if kernel.kind != "conv" or kernel.stated or kernel.family == "keras" or not into == 1 < out:
        return False
    # Keras numbers a Conv2D so, and has a class and a name of their own for depthwise ones.
    if kernel.says(_KERAS) and not kernel.says(_DEPTHWISE):
        return False
    # A window of 4 x 300 runs over the words of a text, which is one channel.
    return len(set(kernel.window)) == 1 or 1 in kernel.window


def _begins(kernels: Sequence[Kernel], i: int, *, alone: bool) -> bool:
    """Say whether a narrow kernel reads a picture: nothing shows that it is depthwise.

    It stands first, or is the only one and the convolution before it gives another number of channels than it has.
    """
    kernel, channels = kernels[i], kernels[i].channels[0]
    if kernel.says(_DEPTHWISE) or any(other.shape == kernel.shape for other in kernels if other is not kernel):
        return False
    # Behind a depthwise convolution stands one that mixes its channels.
    after = kernels[i + 1] if i + 1 < len(kernels) else None
    if after is not None and set(after.window) == {1} and after.channels[1] == channels:
        return False
    return i == 0 or (alone and kernels[i - 1].made != channels)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
