"""The whole proof, which takes minutes: ``make rtl``. `test_rtl` has the part that every run of the suite makes."""

import pytest
from rtl_layers import random_case, saturating

from eie.rtl import tools
from eie.rtl.check import check_rtl
from eie.rtl.write import write_works

LAYERS = 500
IMAGES = 10

icarus = pytest.mark.skipif("icarus" not in tools.available(), reason="needs iverilog")
verilator = pytest.mark.skipif("verilator" not in tools.available(), reason="needs verilator")


@icarus
@pytest.mark.parametrize("seed", range(LAYERS))
def test_random_layers(tmp_path, seed):
    work = random_case(seed).work
    work = saturating(work, 1 + seed % 5) if seed % 2 else work
    run = tools.run(*write_works([work], tmp_path / "rtl"), "icarus")
    assert run.equal, run.differences


@verilator
@pytest.mark.parametrize("model", ["lenet-300-100", "lenet-5"])
def test_shipped_models(model):
    checked = check_rtl(model, samples=IMAGES, simulator="verilator")
    print(checked)
    assert checked.equal


@verilator
def test_alexnet_fc8(fc8):
    """The one real layer whose cycles the authors' own simulator gives."""
    layer, activations = fc8
    checked = check_rtl(layer, activations, simulator="verilator")
    print(checked)
    assert checked.equal
    counted = {name: rtl for name, _, rtl in checked.layers[0].counts}
    assert (counted["cycles"], counted["spmat_reads"], counted["entries"]) == (7926, 100900, 453748)
