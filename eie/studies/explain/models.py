"""The model that a result is of: by the hash in the result.

Comes in: what a result says of its model. Goes out: a `Network`, or None. Read by `explain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eie.errors import ModelError
from eie.importers import find, load
from eie.model.network import Network


def model_of(sha256: str | None, names: Sequence[str], beside: Path | None = None) -> Network | None:
    """Load the first model of these names that has the hash; None if none has.

    Parameters
    ----------
    names
        Paths and names of shipped models, in the order in which they are tried.
    beside
        The folder in which they are looked for as well.
    """
    if not sha256:
        return None
    for name in names:
        for path in (name, *([] if beside is None else [str(beside / name)])):
            try:
                network = load(find(path))
            except ModelError:
                # No such file, or another's: the next may be it.
                continue
            if network.sha256 == sha256:
                return network
    return None


def names_of(source: str, network: str) -> list[str]:
    """Return what a result's model may be called: its file, the same without suffix, the network's own name."""
    return list(dict.fromkeys((source, Path(source).stem, network)))
