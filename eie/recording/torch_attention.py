"""What the projections of torch's own attention modules read: they are functions on parameters, not modules that run.

Comes in: a module. Goes out: calls of a function for each projection as it runs. Used by `run_torch`. While a module is
watched, ``torch.nn.functional.linear`` looks whose parameter its weights are, and torch's fused attention is off: it
would run none of them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# (address, shape) of a matrix: a projection may read a part of a parameter.
_Place = tuple[int, tuple[int, ...]]
# Layer's name, module's name, matrix, inputs.
Watcher = Callable[[str, str, "torch.Tensor", "torch.Tensor"], None]


def attentions(module: torch.nn.Module) -> dict[str, torch.nn.MultiheadAttention]:
    """Return the attention modules by name."""
    import torch

    return {
        name or "attention": part
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.MultiheadAttention)
    }


def projections(module: torch.nn.Module) -> set[int]:
    """Return the ids of modules that an attention holds and does not run."""
    return {id(part.out_proj) for part in attentions(module).values()}


def _places(module: torch.nn.Module) -> dict[_Place, tuple[str, str]]:
    places: dict[_Place, tuple[str, str]] = {}
    for name, part in attentions(module).items():
        matrices: dict[str, Any] = {"out_proj": part.out_proj.weight}
        if part.in_proj_weight is None:
            matrices |= {f"{key}_proj": getattr(part, f"{key}_proj_weight") for key in "qkv"}
        else:
            whole, size = part.in_proj_weight, part.embed_dim
            # One product where queries, keys and values are one tensor; two where keys are values; else three.
            matrices |= {"in_proj": whole, "in_proj.q": whole[:size], "in_proj.kv": whole[size:]}
            matrices |= {"in_proj.k": whole[size : 2 * size], "in_proj.v": whole[2 * size :]}
        for label, matrix in matrices.items():
            places.setdefault((matrix.data_ptr(), tuple(matrix.shape)), (f"{name}.{label}", name))
    return places


@contextmanager
def watched(module: torch.nn.Module, watcher: Watcher) -> Iterator[None]:
    """Call ``watcher`` whenever a projection runs."""
    import torch
    from torch.nn import functional

    places = _places(module)
    if not places:
        yield
        return
    plain: Any = functional.linear

    def linear(*args: Any, **named: Any) -> Any:
        # Each may come by its keyword.
        x, weight, *_ = (*args, *(named[key] for key in ("input", "weight") if key in named))
        known = places.get((weight.data_ptr(), tuple(weight.shape)))
        if known is not None:
            watcher(*known, weight, x)
        return plain(*args, **named)

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    patched: Any = functional
    patched.linear = linear
    try:
        yield
    finally:
        patched.linear = plain
        torch.backends.mha.set_fastpath_enabled(fused)
