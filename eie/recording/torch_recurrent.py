"""What the layers of ``torch.nn.LSTM`` and ``torch.nn.GRU`` read, stacked ones and both directions.

Comes in: a module, what it was given and what it made. Goes out: a `Layer` for each level and direction, and a `Read`
for each of them. Called by `run_torch`'s hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.errors import TraceError
from eie.model.geometry import Gru, Lstm
from eie.model.layer import Layer
from eie.recording.attribution import Read

if TYPE_CHECKING:
    import torch


def recurrent_layers(name: str, module: Any) -> list[Layer]:
    """Lower a module: level by level, forward first; several levels are called as a state dict's are, ``rnn.l1``.

    Raises
    ------
    TraceError
        If it has a projection.
    """
    if module.proj_size:
        raise TraceError(f"module {name!r}: proj_size={module.proj_size}: not modelled, use proj_size = 0")
    layers = []
    for level in range(module.num_layers):
        for tail in _tails(module):
            if module.num_layers > 1:
                called = f"{name}.l{level}{tail}"
            else:
                called = f"{name}{tail or '_forward'}" if module.bidirectional else name
            # Only shapes matter here: a GRU's rows are as wide as an LSTM's of these sizes.
            sizes = _input_size(module, level), module.hidden_size, bool(tail)
            geometry = Gru(*sizes) if type(module).__name__ == "GRU" else Lstm(*sizes)
            layers.append(Layer.of_geometry(name=called, weights=np.ones(geometry.matrix_shape), geometry=geometry))
    return layers


def recurrent_reads(module: Any, x: torch.Tensor, state: Any, made: torch.Tensor) -> list[Read]:
    """Return what each of `recurrent_layers` reads.

    Parameters
    ----------
    x, made
        What the module read and gave out; copied, since what comes next may change it in place.
    state
        As `copied_state` gives it: (levels times directions, N, hidden) of h, and of c.
    """
    made = made.detach().clone()
    if module.num_layers == 1:
        between = [(x, made)]
    else:
        # Between levels torch hands nothing out. On a thread of its own: whoever counts the module's multiplications
        # does so on this one, and would count these once more.
        with ThreadPoolExecutor(1) as pool:
            between = pool.submit(lambda: list(_levels(module, x, state))).result()
    ways, size = len(_tails(module)), module.hidden_size
    reads = []
    for level, both in enumerate(between):
        taken, hidden = both if module.batch_first else (tensor.transpose(0, 1) for tensor in both)
        for way in range(ways):
            # Both directions side by side in the last axis, forward first.
            states = hidden[:, :, way * size : (way + 1) * size].numpy()
            first = None if state is None else state[0][level * ways + way].numpy()
            reads.append(Read(taken.numpy(), states, first))
    return reads


def copied_state(state: Any) -> tuple[torch.Tensor, ...] | None:
    """Copy the states that a recurrent module is given, h or (h, c), as a tuple; None for zeros."""
    parts = state if isinstance(state, tuple) else (state,)
    return None if parts[0] is None else tuple(part.detach().clone() for part in parts)


def _levels(module: Any, x: torch.Tensor, state: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Run a stack level by level; yield what each reads and makes."""
    import torch

    ways, is_lstm = len(_tails(module)), isinstance(module, torch.nn.LSTM)
    with torch.no_grad():
        for level in range(module.num_layers):
            own = _level(module, level)
            part = None if state is None else tuple(h[level * ways : (level + 1) * ways] for h in state)
            made, _ = own(x, part if part is None or is_lstm else part[0])
            yield x, made
            # In evaluation no dropout stands between them.
            x = made


def _level(module: Any, level: int) -> Any:
    """Return one level as a module of one, with the same parameters."""
    import torch

    kind = torch.nn.LSTM if isinstance(module, torch.nn.LSTM) else torch.nn.GRU
    own: Any = kind(
        _input_size(module, level),
        module.hidden_size,
        bias=module.bias,
        batch_first=module.batch_first,
        bidirectional=module.bidirectional,
    )
    for part in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ())):
        for tail in _tails(module):
            getattr(own, f"{part}_l0{tail}").data = getattr(module, f"{part}_l{level}{tail}").detach()
    return own.eval()


def _input_size(module: Any, level: int) -> int:
    return int(module.hidden_size * len(_tails(module)) if level else module.input_size)


def _tails(module: Any) -> tuple[str, ...]:
    return ("", "_reverse") if module.bidirectional else ("",)
