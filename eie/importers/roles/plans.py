"""How each layer is built: which way round it is stored, what kind of convolution it is, what is folded into it.

Comes in: the groups that are layers, in running order. Goes out: a `Plan` for each, and notes on what was assumed. Read
by `decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.roles import kernels as kernel_rules
from eie.importers.roles.asked import Asked
from eie.importers.roles.attention import Split
from eie.importers.roles.groups import Joined
from eie.importers.roles.kernels import Kernel
from eie.importers.roles.names import listed
from eie.importers.roles.norms import EPS, foldable, followers
from eie.importers.roles.orientation import Matrix, stored_inputs_first
from eie.importers.roles.records import Arrays, Group, Plan

# Axes of maps (samples, channels, rows, columns).
_MAP_AXES = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class File:
    """The evidence that layers share."""

    split: Split
    stem: str
    asked: Asked
    joined: Joined
    samples: NDArray[Any] | None
    upright: bool

    @property
    def arrays(self) -> Arrays:
        """All of the file, by the names that groups use."""
        return self.split.arrays

    def weight(self, group: Group) -> NDArray[Any]:
        """Return a layer's weights or codes."""
        return self.arrays[str(group.main)]


def plans(file: File, layers: Sequence[Group]) -> tuple[list[Plan], list[str]]:
    """Plan every layer, with the evidence of all.

    Raises
    ------
    ModelError
        If nothing says which of two kinds a layer is.
    """
    pairs, before = _pairs(file, layers)
    sizes = {group.name: _outputs(file, group, pairs) for group in layers}
    flipped, notes = _flipped(file, layers, sizes)
    kernels, more = _kernels(file, layers, sizes)
    made = []
    for group in layers:
        _check_kind(file, group)
        plan = Plan(name=group.name, kind="linear", parts=group.parts, axes=(1, 0) if group.name in flipped else (0, 1))
        if group.name in kernels:
            kernel = kernels[group.name]
            plan = replace(plan, kind=kernel.kind, axes=kernel.axes, groups=kernel.groups)
        made.append(_with_norm(file, plan, pairs))
    return made, [*notes, *more, *_norm_notes(made, before)]


def _check_kind(file: File, group: Group) -> None:
    """Refuse a stated kind that an array of these axes cannot be."""
    key, axes = str(group.main), file.weight(group).ndim
    kind = file.asked.kind(key, group.name)
    wanted = {None: (2, 3, 4), "linear": (2,), "bilinear": (3,)}.get(kind, (3, 4))
    if axes not in wanted:
        raise ModelError(
            f"layers={key}={kind}: it has {axes} axes: must be {' or '.join(map(str, wanted))} for a layer of that kind"
        )


def _pairs(file: File, layers: Sequence[Group]) -> tuple[dict[str, str], list[str]]:
    """Pair layers with the normalisations behind them; say which stand in front."""
    names = {group.name for group in layers}
    norms = {name: group for name, group in file.joined.groups.items() if name not in names}
    channels = {group.name: _channels(file, group) for group in layers if "codes" not in group.parts}
    return followers(channels, foldable(norms, file.arrays))


def _channels(file: File, group: Group) -> tuple[int, ...]:
    # Outputs first, as the family has it; both may be, since the way round is not decided yet.
    shape = file.weight(group).shape
    return (shape[-1], shape[-2]) if group.family == "keras" else (shape[0], shape[1])


def _outputs(file: File, group: Group, pairs: Mapping[str, str]) -> int:
    """Return how many outputs a bias or a normalisation shows, or 0."""
    if "bias" in group.parts:
        bias = file.arrays[group.parts["bias"]]
        return len(bias) if bias.ndim == 1 else 0
    if group.name in pairs:
        return file.arrays[file.joined.groups[pairs[group.name]].parts["running_mean"]].size
    return 0


def _flipped(file: File, layers: Sequence[Group], sizes: Mapping[str, int]) -> tuple[set[str], list[str]]:
    matrices = []
    for group in layers:
        shape = file.weight(group).shape
        if "weight" in group.parts and len(shape) == 2:
            matrices.append(
                Matrix(name=group.name, family=group.family, shape=(shape[0], shape[1]), outputs=sizes[group.name])
            )
    flipped, notes = (set[str](), list[str]()) if file.upright else stored_inputs_first(matrices)
    # Stated last: it says how they are stored, not that what was decided is to be turned.
    flipped |= {
        group.name
        for group in layers
        if file.weight(group).ndim == 2 and file.asked.is_transposed(str(group.main), group.name)
    }
    if flipped:
        notes.append(f"read as (inputs, outputs): {listed(flipped)}")
    return flipped, notes


# -- convolutions -----------------------------------------------------------------------------------------------------


def _kernels(file: File, layers: Sequence[Group], sizes: Mapping[str, int]) -> tuple[dict[str, Kernel], list[str]]:
    kernels: list[Kernel] = []
    for group in layers:
        if file.weight(group).ndim > 2:
            before = _before(kernels, group.name)
            kernels.append(kernel_rules.read(_kernel(file, group, outputs=sizes[group.name], before=before)))
    kernels, doubts = kernel_rules.settle(kernels)
    for kernel in doubts:
        if kernel_rules.must_ask(kernel):
            raise ModelError(_question(kernel))
    single = file.samples is not None and file.samples.ndim == _MAP_AXES and file.samples.shape[1] == 1
    kernels, first = kernel_rules.depthwise(kernels, layers=len(layers), single_channel=single)
    return {kernel.name: kernel for kernel in kernels}, _kernel_notes(kernels, first, doubts)


def _kernel(file: File, group: Group, outputs: int, before: int) -> Kernel:
    key = str(group.main)
    stated = file.asked.kind(key, group.name)
    if stated is None and file.asked.is_transposed(key, group.name):
        stated = "transposed"
    elif stated is None and file.asked.is_layer(key, group.name):
        stated = "conv"
    return Kernel(
        name=group.name,
        array=file.split.origins.get(key, key),
        alone=group.name == file.stem and group.name not in file.joined.groups,
        family=group.family,
        shape=file.weight(group).shape,
        outputs=outputs,
        before=before,
        stated=stated,
        known_groups=file.split.groups.get(key, 0),
        upright=file.upright,
    )


def _before(kernels: Sequence[Kernel], name: str) -> int:
    """Return the outputs of the kernel in front of a numbered one in the same Sequential."""
    head, _, last = name.rpartition(".")
    if not kernels or not last.isdecimal():
        return 0
    above, _, previous = kernels[-1].name.rpartition(".")
    return kernels[-1].made if above == head and previous.isdecimal() else 0


def _question(kernel: Kernel) -> str:
    outputs, inputs, *window = kernel.shape
    key, sizes = kernel.array, " x ".join(map(str, window))
    if len(window) == 1:
        return (
            f"{key!r} {kernel.shape} may be a Conv1d ({inputs} to {outputs} channels, window {sizes}), a "
            f"ConvTranspose1d or a Bilinear ({inputs} and {sizes} to {outputs}), and nothing says which: say --layers "
            f"{key}=conv, {key}=transposed or {key}=bilinear"
        )
    return (
        f"{key!r} {kernel.shape} may be a Conv2d or a ConvTranspose2d (window {sizes}), and nothing says which: say "
        f"--layers {key}=conv or {key}=transposed"
    )


def _kernel_notes(kernels: Sequence[Kernel], first: Sequence[str], doubts: Sequence[Kernel]) -> list[str]:
    depthwise = [kernel.name for kernel in kernels if kernel.kind == "conv" and kernel.groups > 1]
    transposed = [kernel.name for kernel in kernels if kernel.kind == "transposed"]
    bilinear = [kernel.name for kernel in kernels if kernel.kind == "bilinear"]
    said = (
        ("depthwise convolutions taken with stride 1, no pads, a group for each channel", depthwise),
        ("read as the first convolution, over one channel, not as depthwise (--layers GLOB=depthwise)", first),
        (
            "transposed convolutions taken with stride 1, as convolutions of the turned kernel (with another stride, "
            "record their inputs with zeros between)",
            transposed,
        ),
        ("bilinear, inputs are the products of one of the first and one of the second", bilinear),
        (
            "taken as convolutions, though transposed ones would have the same shapes (--transpose GLOB)",
            [kernel.name for kernel in doubts],
        ),
    )
    return [f"{text}: {listed(names)}" for text, names in said if names]


# -- batch normalisation ----------------------------------------------------------------------------------------------


def _with_norm(file: File, plan: Plan, pairs: Mapping[str, str]) -> Plan:
    """Fold the normalisation if its length is that of the outputs, now that these are known."""
    if plan.name not in pairs:
        return plan
    norm = file.joined.groups[pairs[plan.name]]
    shape = [file.arrays[plan.parts["weight"]].shape[axis] for axis in plan.axes]
    outputs = shape[1] * plan.groups if plan.kind == "transposed" else shape[0]
    fits = file.arrays[norm.parts["running_mean"]].shape == (outputs,)
    return replace(plan, norm=norm) if fits else plan


def _norm_notes(made: Sequence[Plan], before: Sequence[str]) -> list[str]:
    pairs = {f"{plan.norm.name} into {plan.name}": EPS[plan.norm.family] for plan in made if plan.norm is not None}
    notes = []
    if pairs:
        eps = " or ".join(f"{value:g}" for value in sorted(set(pairs.values())))
        notes.append(f"batch normalisation folded into the layer it follows (epsilon {eps}): {listed(pairs)}")
    if before:
        notes.append(f"batch normalisation in front of its layers, not folded: {listed(before)}")
    return notes
