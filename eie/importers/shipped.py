"""What comes with the package beside its code: models, traces, notebooks, examples.

Comes in: names. Goes out: paths, and what is known of each model without reading it. Read by `load` and by the commands
``eie models``, ``eie notebooks`` and ``eie doctor``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from eie.errors import ModelError
from eie.formats.files import read_toml

Kind = Literal["models", "traces", "notebooks", "examples"]
_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """What is known of a shipped model.

    Attributes
    ----------
    accuracy
        Share of the trace's labelled samples that the accelerator's fixed point gets right; None without labels.
    samples
        How many of them there are.
    """

    name: str
    file: Path
    layers: int
    weights: int
    places: int
    what: str
    accuracy: float | None = None
    samples: int | None = None


def shipped_folder(kind: Kind) -> Path | None:
    """Return a folder that is shipped, or None: inside an installed package, beside it in a source tree."""
    for folder in (_PACKAGE / "shipped" / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    return None


def shipped_models() -> dict[str, Path]:
    """Name and file of every model that comes with the package."""
    folder = shipped_folder("models")
    return {} if folder is None else {file.stem: file for file in sorted(folder.glob("*.toml"))}


def catalogue() -> tuple[ShippedModel, ...]:
    """Return what is known of every shipped model: reading them all would take half a minute."""
    known = read_toml(Path(str(files("eie.importers") / "shipped.toml")), ModelError)
    return tuple(
        ShippedModel(name=name, file=file, **known[name]) for name, file in shipped_models().items() if name in known
    )
