"""ResNet-50 as the granularities text has it: its figures beside ours, with why they differ.

Comes in: a study of a network with ResNet-50's shapes. Goes out: a `Grid`. Read by `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator

from eie.machines.choose import called
from eie.show.sections import Column, Grid, Value, deviation
from eie.studies.granularity.notes import Figures, pruning_notes
from eie.studies.granularity.rows import Row, Rows
from eie.studies.granularity.variants import Variant

# Figures are printed with two or three digits; within this share they are the same.
TOLERANCE = 0.05
GPU = "tensor-core"
_WHY = {
    ("dense", "parameters"): "weights; batch normalisation has 0.05 million more",
    ("dense", "FLOPs"): "a multiply-accumulate counts as one operation",
    ("fine:0.9", "FLOPs"): "of a machine that skips nothing; EIE does {eie:.3g} billion, both factors being non-zero",
    ("2:4", "FLOPs"): "with weights that are not zero; a machine that does not know 2:4 does all {all:.3g} billion",
    ("channel:0.5", "parameters"): (
        "half of the inputs and half of the outputs leave a quarter of a layer; but the first layer keeps its 3 inputs "
        "and the last its 1000 outputs"
    ),
    ("channel:0.5", "FLOPs"): "4 and not 2 times fewer: both sides of a layer shrink (one alone: 2 times)",
}
# Why an A100's bound gains less than the text says.
_SLOWER = {
    "2:4": "where memory binds, weights shrink to 9/16, indices included, and activations not at all",
    "channel:0.5": "where memory binds, activations halve while weights and MACs fall to a quarter",
}


def example(study: Rows) -> Grid | None:
    """Set the text's figures beside the study's; None for another network."""
    printed = pruning_notes().example
    weights = study.unpruned.weights
    # Spelt ResNet-50, resnet_50 or resnet50; the name alone is not enough, so the weights are counted too.
    if weights is None or "resnet50" not in "".join(filter(str.isalnum, study.network.lower())):
        return None
    # The data file has the dense form first.
    if abs(deviation(weights, printed[0].parameters)) > TOLERANCE:
        return None
    rows: list[dict[str, Value]] = []
    for figures in printed:
        # Compared as variants, not as text: channel:0.5 and channel:.5 are one.
        row = next((form for form in study.found if form.variant == Variant.parse(figures.variant)), None)
        if row is not None:
            rows += _rows(study, figures, row)
    columns = (
        Column("variant", "variant", "text"),
        Column("what", "what", "prose"),
        Column("printed", "the text"),
        Column("ours", "ours"),
        Column("deviation", "dev.", "deviation"),
        Column("verdict", "", "text"),
        Column("why", "why", "prose"),
    )
    return Grid(caption=f"ResNet-50 in {pruning_notes().granularities}", columns=columns, rows=tuple(rows), keys=2)


def _rows(study: Rows, figures: Figures, row: Row) -> Iterator[dict[str, Value]]:
    millions, billions = 1e6, 1e9
    # The text counts 2:4 as half of the operations, and leaves zeros in for every other form.
    operations = row.kept_macs if figures.variant == "2:4" else row.macs
    assert row.kept is not None
    assert operations is not None
    yield _row(
        figures=figures,
        what="parameters",
        unit="million",
        printed=figures.parameters / millions,
        ours=row.kept / millions,
        row=row,
    )
    yield _row(
        figures=figures,
        what="FLOPs",
        unit="billion",
        printed=figures.flops / billions,
        ours=operations / billions,
        row=row,
    )
    if figures.gpu_speedup is not None:
        # Every batch size that was run: the text does not say which it means.
        for machine in study.machines:
            if machine.startswith(GPU):
                ours = study.speedup(row, machine)
                yield _row(
                    figures=figures,
                    what=f"speedup, {called(machine)}",
                    unit="",
                    printed=figures.gpu_speedup,
                    ours=ours,
                    row=row,
                )
    yield {
        "variant": str(row.variant),
        # Stays in the table: a figure that is left out would look as if it had been confirmed.
        "what": "ImageNet top-1, %",
        "printed": 100 * figures.top1,
        "verdict": "not shown",
        "why": "only shapes are here",
    }


def _row(figures: Figures, what: str, unit: str, printed: float, ours: float | None, row: Row) -> dict[str, Value]:
    off = None if ours is None else deviation(ours, printed)
    verdict = "not shown" if off is None else "reproduced" if abs(off) <= TOLERANCE else "differs"
    why = _WHY.get((figures.variant, what), "")
    if what.startswith("speedup") and verdict == "differs":
        why = _SLOWER.get(figures.variant, "")
    return {
        "variant": str(row.variant),
        "what": f"{what}, {unit}" if unit else what,
        "printed": printed,
        "ours": ours,
        "deviation": off,
        "verdict": verdict,
        "why": why.format(eie=(row.eie_macs or 0) / 1e9, all=(row.macs or 0) / 1e9),
    }
