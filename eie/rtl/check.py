"""The hardware run beside the other engines: every count and every output, ours and the RTL's.

Comes in: a model or program and its inputs. Goes out: `RtlCheck`. Called by the command line and by the tests.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eie.compiler.choice import Conv
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.formats.arguments import taken
from eie.importers.entrance import Model
from eie.model.fitting import Layout
from eie.recording.inputs import opened
from eie.rtl import tools
from eie.rtl.tools import Run, Simulator
from eie.rtl.work import LayerWork, works
from eie.rtl.write import write_works
from eie.show.brief import Brief
from eie.show.face import Answer
from eie.show.sections import Column, Grid, Section
from eie.simulator.inputs import Inputs
from eie.simulator.programs import as_program
from eie.spec import AcceleratorSpec

COLUMNS = (
    Column("layer", "layer", "text"),
    Column("count", "count", "text"),
    Column("ours", "ours", "count"),
    Column("rtl", "RTL", "count"),
    Column("equal", "equal", "yes"),
)


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckedLayer(Brief):
    """One use of a layer on both sides.

    Attributes
    ----------
    counts
        By name: (ours, RTL), over all products. ``outputs`` are those computed, and those equal.
    equal
        Whether every count of every product and PE, and every output, is.
    differences
        The first differences, in words.
    reordered
        Outputs that are not those of a run, see `eie.rtl.work`.
    """

    layer: str
    products: int
    counts: tuple[tuple[str, int, int], ...]
    equal: bool
    differences: tuple[str, ...] = ()
    reordered: int = 0


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RtlCheck(Answer):
    """Layers run as hardware, beside what the other engines count and compute."""

    SCHEMA: ClassVar[str] = "eie-rtlcheck"

    program: str
    machine: str
    simulator: str
    layers: tuple[CheckedLayer, ...]

    @property
    def equal(self) -> bool:
        """Whether no layer differs."""
        return all(layer.equal for layer in self.layers)

    def headline(self) -> str:
        """Say whether the sides agree."""
        products = sum(layer.products for layer in self.layers)
        verdict = "equal in every count and output" if self.equal else "DIFFERENT"
        many = "1 product" if products == 1 else f"{products:,} products"
        return f"{self.program} on {self.machine} in Verilog, {self.simulator}, {many}: {verdict}"

    def sections(self) -> tuple[Section, ...]:
        """Return a row a layer and count."""
        rows = tuple(self.records())
        notes = tuple(f"{layer.layer}: {text}." for layer in self.layers for text in layer.differences)
        notes += tuple(
            f"{layer.layer}: {layer.reordered:,} outputs are not those of eie run: sums saturate on the way, and the "
            "hardware adds pixel by pixel."
            for layer in self.layers
            if layer.reordered
        )
        return (Section(name="rtl", grids=(Grid(columns=COLUMNS, rows=rows, keys=2, grouped=True),), notes=notes),)

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record a layer and count."""
        return [
            {"layer": layer.layer, "count": name, "ours": ours, "rtl": rtl, "equal": ours == rtl}
            for layer in self.layers
            for name, ours, rtl in layer.counts
        ]

    def content(self) -> dict[str, Any]:
        """Return what ran where, what each use of a layer came to, and the rows."""
        return {
            "program": self.program,
            "machine": self.machine,
            "simulator": self.simulator,
            "equal": self.equal,
            "checked": [
                {
                    "layer": layer.layer,
                    "products": layer.products,
                    "equal": layer.equal,
                    "differences": list(layer.differences),
                    "reordered": layer.reordered,
                }
                for layer in self.layers
            ],
            "rows": self.records(),
        }


@taken
def check_rtl(
    model: Program | Model,
    inputs: Inputs = None,
    *,
    layer: str | None = None,
    sample: int = 0,
    samples: int | None = 1,
    folder: str | Path | None = None,
    simulator: Simulator | None = None,
    layout: Layout | None = None,
    spec: AcceleratorSpec | None = None,
    bias: BiasPlace = "auto",
    conv: Conv = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> RtlCheck:
    """Run layers as hardware in a Verilog simulator and compare every count and output.

    Parameters
    ----------
    model, inputs
        As `eie.simulate` takes them.
    layer
        The layer that is wanted; all of them by default.
    sample, samples
        From which sample on, and how many; None for all of them. A bench runs all their products one after the other.
    folder
        Where the design is written; a temporary folder by default.
    simulator
        ``"icarus"`` or ``"verilator"``; by default the one that is here, and of both the one that is done sooner.
    layout, spec, bias, conv
        As `eie.simulate` takes them.
    progress
        Called with what is done next.

    Returns
    -------
    RtlCheck
        Both sides of every layer.

    Raises
    ------
    EieError
        If no Verilog simulator is here, or the hardware cannot do a layer.
    """
    inputs = opened(inputs)
    program = as_program(model, spec, bias, conv=conv, examples=inputs, layout=layout)
    wanted = None if layer is None else (layer,)
    tools.chosen(simulator, 0)  # before the network is run: nothing could be done with it
    made = works(program, inputs, layout=layout, sample=sample, samples=samples, layers=wanted)
    with contextlib.ExitStack() as stack:
        # Kept where a folder is named, else gone with the run.
        where = stack.enter_context(tempfile.TemporaryDirectory(prefix="eie-rtl-")) if folder is None else folder
        checked = check_works(made, write_works(made, Path(where)), simulator=simulator, progress=progress)
    return RtlCheck(
        program=program.name,
        machine=program.spec.headline(),
        simulator=" and ".join(dict.fromkeys(tool for _, tool in checked)),
        layers=tuple(layer for layer, _ in checked),
    )


def check_works(
    made: Sequence[LayerWork],
    folders: Sequence[Path],
    simulator: Simulator | None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[tuple[CheckedLayer, Simulator]]:
    """Run what was written, layer by layer."""
    checked = []
    for work, folder in zip(made, folders, strict=True):
        tool = tools.chosen(simulator, int(work.activity.cycles.sum()) * work.spec.n_pe)
        progress(f"running {work.use} in Verilog ({tool})")
        checked.append((_added_up(work, tools.run(folder, tool)), tool))
    return checked


def _added_up(work: LayerWork, run: Run) -> CheckedLayer:
    """Add up what a run printed."""
    names = dict.fromkeys(name for _, name, _, _ in run.counts)
    return CheckedLayer(
        layer=work.use,
        products=work.products,
        counts=tuple(
            (
                name,
                sum(ours for _, of, ours, _ in run.counts if of == name),
                sum(rtl for _, of, _, rtl in run.counts if of == name),
            )
            for name in names
        ),
        equal=run.equal,
        differences=run.differences,
        reordered=work.reordered,
    )
