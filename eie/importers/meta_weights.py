"""Weights of a torch module or program on the meta device, which has shapes and no numbers, drawn at random.

Comes in: a module or an exported program, and a density. Goes out: one with numbers, and the names that were drawn.
Called by `torch_module`. Matrices and kernels are drawn as all synthetic layers are; of vectors and single numbers,
those called bias or mean are zeros, others ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.errors import ModelError
from eie.importers.synthetic import weight_levels
from eie.model.network import Network
from eie.model.operators.from_onnx import LARGEST_TENSOR

if TYPE_CHECKING:
    import torch

SEED = 0
_SHIFTS = ("bias", "mean")


def with_numbers(module: Any, density: float | None, where: str) -> tuple[Any, frozenset[str]]:
    """Return a module or program whose weights all have numbers, and the names of those that were drawn.

    Raises
    ------
    ModelError
        If some have none and there is no density, or the reverse, or integers are missing.
    """
    import torch

    program = isinstance(module, torch.export.ExportedProgram)
    tensors = dict(_of_program(module) if program else _of_module(module))
    missing = {name: tensor for name, tensor in tensors.items() if tensor.is_meta}
    if density is None:
        if missing:
            name = next(iter(missing))
            raise ModelError(
                f"{where}: {name!r} has a shape and no numbers (device meta): --density D (density=D) draws it"
            )
        return module, frozenset()
    if not missing:
        raise ModelError(f"{where}: density={density:g}: all of its weights are there; threshold prunes them")
    made: dict[int, torch.Tensor] = {}
    for i, (name, tensor) in enumerate(missing.items()):
        # A stream for each tensor, as for each layer of other formats; one that is tied has two names.
        if id(tensor) not in made:
            rng = np.random.default_rng([SEED, i])
            made[id(tensor)] = _drawn(name, tensor, density=density, rng=rng, where=where)
    drawn = {name: made[id(tensor)] for name, tensor in missing.items()}
    return (_program_with if program else _module_with)(module, drawn), frozenset(drawn)


def labelled(network: Network, drawn: Collection[str], density: float | None) -> Network:
    """Say which layers are synthetic: those called after a module whose weights were drawn, and of unknown ones all."""
    if not drawn:
        return network
    modules = {name.rpartition(".")[0] for name in drawn}
    layers = tuple(replace(layer, synthetic=_is_of(layer.name, modules)) for layer in network.layers)
    if not any(layer.synthetic for layer in layers):
        # Called after something else, as by an older exporter.
        layers = tuple(replace(layer, synthetic=True) for layer in layers)
    note = f"weights that the module lacks were drawn at random: density {density:g}, seed {SEED}"
    return replace(network, layers=layers, notes=(*network.notes, note))


def _is_of(layer: str, modules: Collection[str]) -> bool:
    return any(layer == module or layer.startswith((f"{module}.", f"{module}_", f"{module} ")) for module in modules)


def _of_module(module: torch.nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _of_program(program: torch.export.ExportedProgram) -> Iterable[tuple[str, torch.Tensor]]:
    import torch

    yield from program.state_dict.items()
    yield from ((name, value) for name, value in program.constants.items() if isinstance(value, torch.Tensor))


def _drawn(name: str, tensor: torch.Tensor, *, density: float, rng: np.random.Generator, where: str) -> torch.Tensor:
    import torch

    shape = tuple(tensor.shape)
    if not 1 <= math.prod(shape) <= LARGEST_TENSOR:
        raise ModelError(f"{where}: {name!r}: {shape}: must hold 1 to {LARGEST_TENSOR:,} values")
    if not tensor.is_floating_point():
        # How often it was trained is no part of what it computes; ids and masks are.
        if not name.endswith("num_batches_tracked"):
            raise ModelError(f"{where}: {name!r} of type {tensor.dtype} has no numbers: only floats can be drawn")
        return torch.zeros(shape, dtype=tensor.dtype)
    if len(shape) < 2:
        shifts = any(word in name.rpartition(".")[2] for word in _SHIFTS)
        return torch.full(shape, 0.0 if shifts else 1.0, dtype=tensor.dtype)
    kept = rng.random(shape, np.float32) < density
    levels = weight_levels(math.prod(shape) / shape[0] * density)
    values = np.where(kept, rng.choice(levels, shape), np.float32(0)).astype(np.float32)
    return torch.from_numpy(values).to(tensor.dtype)


def _module_with(module: torch.nn.Module, drawn: dict[str, torch.Tensor]) -> torch.nn.Module:
    import torch

    # The user's module stays on the meta device; tensors that are there are shared with it.
    memo = {id(tensor): tensor for _, tensor in _of_module(module)}
    made = copy.deepcopy(module, memo)
    parameters: dict[int, torch.nn.Parameter] = {}
    for name, tensor in drawn.items():
        path, _, own = name.rpartition(".")
        part = made.get_submodule(path)
        is_parameter = own in dict(part.named_parameters(recurse=False))
        parameter = parameters.setdefault(id(tensor), torch.nn.Parameter(tensor, requires_grad=False))
        # By assignment: recurrent modules keep a list of theirs beside.
        setattr(part, own, parameter if is_parameter else tensor)
    return made


def _program_with(
    program: torch.export.ExportedProgram, drawn: dict[str, torch.Tensor]
) -> torch.export.ExportedProgram:
    import torch
    from torch.export.passes import move_to_device_pass

    for name, tensor in drawn.items():
        if name in program.state_dict:
            is_parameter = isinstance(program.state_dict[name], torch.nn.Parameter)
            own = torch.nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
            program.state_dict[name] = own
        else:
            program.constants[name] = tensor
    # Operators that make tensors name the device they were exported on.
    return move_to_device_pass(program, "cpu")
