"""A program's layers written out as hardware: one folder each, ready to be simulated.

Comes in: a model or program and its inputs. Goes out: folders. Called by the command line; `check` runs them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from importlib.resources import files as packaged
from pathlib import Path

from eie.compiler.choice import Conv
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.errors import EieError
from eie.formats.arguments import taken
from eie.importers.entrance import Model
from eie.model.fitting import Layout
from eie.recording.inputs import opened
from eie.rtl import design
from eie.rtl.work import LayerWork, works
from eie.show.writing import whole_folder, write_text
from eie.simulator.inputs import Inputs
from eie.simulator.programs import as_program
from eie.spec import AcceleratorSpec
from eie.version import __version__

UNITS = (
    "top",
    "central_control",
    "lnzd",
    "pe",
    "act_queue",
    "ptr_read",
    "spmat_read",
    "arithm",
    "act_rw",
    "ram",
    "pass_control",
    "act_sram",
    "map_walk",
    "ptr_ranges",
    "open_rows",
)
# Of the bench: what a chip would have around it.
BENCH = ("bench", "bus")
# Of a folder that was written before, and may be written again.
MARK = "config.vh"
# Written last, with a hash of every file.
SUMS = "SHA256SUMS"


@taken
def write_rtl(
    model: Program | Model,
    folder: str | Path,
    inputs: Inputs = None,
    *,
    layer: str | None = None,
    sample: int = 0,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
) -> tuple[Path, ...]:
    """Write layers as Verilog with their weights in its memories, and a bench that holds it to the other engines.

    Parameters
    ----------
    model
        A model or program, as `eie.simulate` takes it.
    folder
        Where to: made if it is not there. Several layers get a folder each in it.
    inputs
        As `eie.simulate` takes them.
    layer
        The layer that is wanted; all of them by default.
    sample
        Which sample of the inputs.
    layout, spec, bias, conv
        As `eie.simulate` takes them.

    Returns
    -------
    tuple of Path
        The folder of each use of a layer, in order.

    Raises
    ------
    ProgramError
        If the hardware cannot do a layer: it is recurrent, or by Winograd, or too much at once.
    TraceError
        If the inputs do not fit the model, or there is no such sample.
    """
    inputs = opened(inputs)
    program = as_program(model, spec, bias, conv=conv, examples=inputs, layout=layout)
    wanted = None if layer is None else (layer,)
    made = works(program, inputs, layout=layout, sample=sample, samples=1, layers=wanted)
    return write_works(made, Path(folder))


def write_works(made: Sequence[LayerWork], folder: Path) -> tuple[Path, ...]:
    """Write each in a folder of its own, a single one in the folder itself.

    A new folder is there whole or not at all. One that was there is written over file by file: it is whole as long as
    its `SUMS`, which goes first and comes last, says what is in it.
    """
    names = [""] if len(made) == 1 else [_name(i, work.use) for i, work in enumerate(made)]
    for name in names:
        _refuse_others(folder / name)
    with whole_folder(folder) as top:
        for work, name in zip(made, names, strict=True):
            with whole_folder(top / name) as own:
                _write(work, own)
    return tuple(folder / name for name in names)


def verilog(unit: str) -> str:
    """Return the text of a unit, or of the bench."""
    return (packaged("eie.rtl") / "verilog" / f"{unit}.v").read_text(encoding="utf-8")


def _write(work: LayerWork, folder: Path) -> None:
    texts = {f"{unit}.v": verilog(unit) for unit in (*UNITS, *BENCH)}
    texts |= {"README.md": _readme(work), **design.files(work)}
    try:
        _clear(folder, texts)
        for part in {Path(name).parent for name in texts}:
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EieError(f"{folder}: cannot be written: {error.strerror or error}") from None
    # First what says whose the folder is: whatever is written of it may be written again.
    for name in sorted(texts, key=lambda name: name != MARK):
        write_text(folder / name, texts[name])
    # As sha256sum --check reads it.
    sums = (f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in texts.items())
    write_text(folder / SUMS, "".join(sums))


def _clear(folder: Path, wanted: Collection[str]) -> None:
    """Take out what says that a folder is whole, and the memories of another layer that would stay beside ours."""
    (folder / SUMS).unlink(missing_ok=True)
    for file in (file for kind in ("images", "expected") for file in (folder / kind).glob("*.hex")):
        if str(file.relative_to(folder)) not in wanted:
            file.unlink()


def _readme(work: LayerWork) -> str:
    text = (packaged("eie.rtl") / "verilog" / "README.md").read_text(encoding="utf-8")
    layer = work.layer
    return text.format(
        use=work.use,
        layer=f"{layer.name}, {layer.outputs} x {layer.inputs}",
        spec=work.spec.headline(),
        products=work.products,
        version=__version__,
        units=" ".join(f"{unit}.v" for unit in UNITS),
    )


def _refuse_others(folder: Path) -> None:
    """Images of other layers would stay beside ours; anything else is not ours to write into."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise EieError(f"{folder}: holds other files: must be new, empty, or written by eie rtl before")


def _name(number: int, use: str) -> str:
    # Names come from files and may hold anything; numbered, so that no two become one.
    return f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]', '_', use)}"
