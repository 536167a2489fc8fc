"""One of everything that has the face, made of small things: for tests that walk over all of them."""

from dataclasses import replace
from functools import cache

import numpy as np
from small_networks import labelled, mlp

import eie
from eie.compression.coding.size import size_report
from eie.compression.pruning.sensitivity import scan
from eie.results.accuracy import float32_accuracy
from eie.rtl.check import CheckedLayer, RtlCheck
from eie.rtl.resources import LayerResources, RtlResources, UnitResources
from eie.show.sections import Column, Curves, Grid, Section, Statement
from eie.studies.paper.basis import labelled as say_bases
from eie.studies.paper.reproduce import Paper

MARKUP = "[/red]a:key:b"
NAME = f"{MARKUP}\x1b[31m"
RECIPE = {
    "step": [
        {"kind": "prune", "rule": [{"density": 0.5}]},
        {"kind": "share", "rule": [{"bits": 4}]},
        {"kind": "permute", "n_pe": 2, "outputs": True},
    ]
}


@cache
def network():
    return replace(labelled(mlp((12, 10, 6))), name="small")


@cache
def result():
    return eie.simulate(eie.compile(network(), eie.EIE_64PE.replace(n_pe=4)))


@cache
def compression():
    return eie.compress(network(), RECIPE, evaluate=float32_accuracy)[1]


@cache
def study():
    return eie.granularity(network(), ["fine:0.5", "2:4"], ["dense"], spec=result().spec, samples=2)


def paper():
    """Every part that a section can have; the real tables take minutes."""
    curves = Curves(x_label="PEs", x=(1, 2), y_label="speedup", series={"Alex-6": (1.0, None)})
    columns = (Column("layer", "layer", "text"), Column("ours", "ours"), Column("dev", "dev.", "deviation"))
    rows = ({"layer": "Alex-6", "ours": 28.1, "dev": -0.062}, {"layer": "VGG-6", "ours": None})
    claim = Statement(place="section III", claim="skips zeros", holds=True, found="36 %")
    section = Section(
        name="figure11",
        title="Figure 11: speedup",
        grids=(Grid(caption="speedups", columns=columns, rows=rows),),
        curves=(curves,),
        statements=(claim, replace(claim, holds=False), replace(claim, holds=None)),
        notes=("a note",),
    )
    return Paper(paper="Han et al.", data="drawn", parts=(say_bases(section, real=False),))


@cache
def rtl_check():
    """Made by hand: a Verilog simulator need not be here."""
    right = CheckedLayer(layer="fc", products=1, counts=(("cycles", 9, 9),), equal=True)
    wrong = replace(right, layer=MARKUP, counts=(("outputs", 2, 1),), equal=False, differences=("output of PE 0",))
    return RtlCheck(program="small", machine="4 PEs", simulator="icarus", layers=(right, wrong))


@cache
def counted():
    """Made by hand: Yosys need not be here."""
    unit = UnitResources(unit="arithm", instances=4, lut=8, lut_memory=4, register=9, block_ram=0.5, dsp=4)
    whole = replace(unit, unit="total", instances=1)
    queue = replace(unit, unit="act_queue", lut=0, lut_memory=0, register=0, block_ram=0, dsp=0)
    layer = LayerResources(layer=MARKUP, units=(queue, unit), whole=whole, spec_block_ram=160)
    return RtlResources(program="small", machine="4 PEs", layers=(layer,), tool="Yosys")


@cache
def answers():
    """Return one of each class that a public function returns, by its name."""
    listed = [
        result(),
        result().energy(),
        eie.compare(result(), ["dense", "systolic:4x4:ws"], network=network()),
        eie.sweep(network(), {"n_pe": [2, 4], "act_queue_depth": [2, 8]}, spec=result().spec).pareto("latency", "area"),
        eie.diff(result(), eie.simulate(network(), spec=result().spec.replace(act_queue_depth=2))),
        compression(),
        size_report(network()),
        scan(network(), float32_accuracy, (0.5, 1.0)),
        study(),
        study().search,
        eie.explain(network(), spec=result().spec),
        paper(),
        eie.area(result().spec),
        result().timeline(),
        rtl_check(),
        counted(),
    ]
    return {type(answer).__name__: answer for answer in listed}


@cache
def views():
    """Return one of each class that a caller holds in hand, by its name."""
    strange = eie.Layer.from_weights("[/red]a:key:b", np.eye(4))
    listed = [
        result().spec,
        network(),
        eie.Network(name=NAME, layers=(strange,)),
        network().layers[0],
        result().program,
        result().program.layers[0],
        network().trace,
        next(iter(network().trace.layers.values())),
        compression().recipe,
        result().layers[0],
        result().layers[0].computed,
        result().layers[0].computed.fixed,
        result().energy().layers[0],
        result().memory,
    ]
    return {type(view).__name__: view for view in listed} | {"strange Network": listed[2]}
