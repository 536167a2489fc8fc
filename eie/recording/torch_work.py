"""What a torch module multiplies outside the modules that are recorded: a text for each, for `Trace.unmodelled`.

Comes in: the module, the names of what is recorded, torch's own count of operations. Goes out: texts with shares of the
weights and of the multiplications. Read by `run_torch`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def unmodelled_modules(
    module: torch.nn.Module,
    recorded: Collection[str],
    counts: Mapping[str, Mapping[Any, int]],
    own: int,
    *,
    attentions: Mapping[str, int],
) -> tuple[str, ...]:
    """Return a text for each module that holds matrices and is not recorded, and one for products outside of modules.

    Parameters
    ----------
    recorded
        Names of modules whose inputs were recorded.
    counts
        Of one run, by torch's `FlopCounterMode`: operations by module and operator, those of parts included.
    own
        Multiplications of the recorded modules in that run. Counted by their rows: an LSTM's kernel has no count.
    attentions
        Of them, those of the projections inside of attention modules, by name; all else there is a function's.
    """
    root = type(module).__name__
    parts = dict(module.named_modules())
    # A part of a module that is recorded is recorded with it.
    tops = {*recorded, *attentions}
    inside = {name for name in parts if any(name == top or name.startswith(f"{top}.") for top in tops)}
    # A bare module has no name inside itself, and is recorded under that of its class.
    inside |= {""} if root.lower() in recorded and "" not in recorded and len(parts) == 1 else set()
    inside |= {"", "out_proj"} if "attention" in attentions and "attention" not in parts else set()
    counted: set[int] = set()
    # What is recorded in front: an embedding whose matrix is a recorded layer's too holds nothing of its own.
    matrices = {name: _matrices(parts[name], counted) for name in sorted(parts, key=lambda name: name not in inside)}
    missing = [name for name in parts if matrices[name] and name not in inside]
    multiplied = {name: _multiplications(counts, f"{root}.{name}") for name in missing if name}
    seen = sum(_multiplications(counts, f"{root}.{name}") for name in recorded if name in parts and name)
    seen += sum(attentions.values())
    whole = _multiplications(counts, "Global")
    # What no module that is named here accounts for: functions, on parameters of the outermost or on activations.
    loose = max(0, whole - seen - sum(multiplied.values())) if "" not in inside or attentions else 0
    total, weights = own + sum(multiplied.values()) + loose, sum(matrices.values())
    texts = [
        f"{type(parts[name]).__name__} ({name}): {_percent(matrices[name], weights)} of the weights, "
        f"{_percent(multiplied[name], total)} of the multiplications"
        for name in missing
        if name
    ]
    if loose or "" in missing:
        share = f"{_percent(matrices[''], weights)} of the weights" if "" in missing else "no weights of their own"
        texts.append(f"functions outside of modules ({root}): {share}, {_percent(loose, total)} of the multiplications")
    return tuple(texts)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.0f} %"


def _matrices(module: torch.nn.Module, counted: set[int]) -> int:
    # A vector is a bias or a norm's scale. Each once, where it stands first: tied weights are one.
    fresh = [part for part in module.parameters(recurse=False) if part.ndim >= 2 and id(part) not in counted]
    counted.update(map(id, fresh))
    return sum(part.numel() for part in fresh)


def _multiplications(counts: Mapping[str, Mapping[Any, int]], name: str) -> int:
    # torch counts a multiplication and an addition as two.
    return sum(counts.get(name, {}).values()) // 2
