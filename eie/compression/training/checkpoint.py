"""Where a fine-tuning was when it was stopped: weights, the optimiser's state, torch's random numbers, the epoch.

Comes in: tensors, after every epoch. Goes out: the same, when the same fine-tuning is started again. Read by the
trainer. A file for each fine-tuning, replaced as a whole; one that is damaged, or of another network, examples, options
or version, is not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.formats.safetensors import read_safetensors, write_safetensors
from eie.show.brief import Brief

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

KIND = "eie-training"


@dataclass(frozen=True, repr=False)
class Checkpoints(Brief):
    """A folder of fine-tunings: given to a trainer, each of its epochs is kept.

    Attributes
    ----------
    folder
        Made when it is first written to.
    """

    folder: Path

    def restore(self, key: str, movable: Sequence[Tensor], optimiser: Optimizer) -> int:
        """Bring tensors, optimiser and torch's random numbers to where they were; return the epochs that are done."""
        import torch

        arrays, header = self._read(key)
        # Damaged, of another shape, or none: trained from the start.
        if len(movable) != sum(name.startswith("value") for name in arrays):
            return 0
        with torch.no_grad():
            for i, tensor in enumerate(movable):
                tensor.copy_(torch.from_numpy(arrays[f"value.{i}"].copy()))
        if "random" in arrays:
            torch.set_rng_state(torch.from_numpy(arrays["random"].copy()))
        state: dict[int, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            if name.startswith("optimiser."):
                _, place, field = name.split(".")
                tensor = torch.from_numpy(array.copy())
                # A file holds no number without a dimension; the count of steps is one.
                state.setdefault(int(place), {})[field] = tensor.reshape(()) if field == "step" else tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        return int(header["epochs"])

    def keep(self, key: str, movable: Sequence[Tensor], optimiser: Optimizer, *, epochs: int, last: bool) -> None:
        """Write the state behind so many epochs; behind the last one only the values matter."""
        import torch

        arrays = {f"value.{i}": tensor.detach().numpy() for i, tensor in enumerate(movable)}
        if not last:
            arrays["random"] = torch.get_rng_state().numpy()
            for i, fields in optimiser.state_dict()["state"].items():
                arrays |= {f"optimiser.{i}.{field}": tensor.numpy() for field, tensor in fields.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"kind": KIND, "key": key, "epochs": str(epochs), "sha256": _digest(arrays)}
        write_safetensors(self._path(key), arrays, header)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:32]}.safetensors"

    def _read(self, key: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        path = self._path(key)
        if not path.is_file():
            return {}, {}
        try:
            read, header = read_safetensors(path, EieError)
        # A file that a failing disk damaged costs its epochs, not the command.
        except EieError:
            return {}, {}
        arrays = dict(read)
        if (header.get("kind"), header.get("key")) != (KIND, key) or header.get("sha256") != _digest(arrays):
            return {}, {}
        return arrays, header


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name} {array.dtype} {array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
