"""The whole proof, which takes minutes: ``make rtl``. `test_rtl` has the part that every run of the suite makes."""

import pytest
from needs import icarus, verilator
from rtl_layers import ran, random_batches, random_case, random_streamed, saturating, streamed
from rtl_maps import random_map, random_passes

import eie
from eie.rtl.check import check_rtl, check_works
from eie.rtl.work import works
from eie.rtl.write import write_works

LAYERS = 500
STREAMED = 320
BATCHED = 200
PASSES = 100
MAPS = 200
IMAGES = 10


@icarus
@pytest.mark.parametrize("seed", range(LAYERS))
def test_random_layers(tmp_path, seed):
    work = random_case(seed).work
    work = saturating(work, 1 + seed % 5) if seed % 2 else work
    run = ran(work, tmp_path / "rtl")
    assert run.equal, run.differences


@icarus
@pytest.mark.parametrize("seed", range(STREAMED))
def test_random_streamed_layers(tmp_path, seed):
    work = random_streamed(seed)
    work = saturating(work, 1 + seed % 5) if seed % 2 else work
    run = ran(work, tmp_path / "rtl")
    assert run.equal, run.differences


@icarus
@pytest.mark.parametrize("seed", range(BATCHED))
def test_random_batches(tmp_path, seed):
    work = random_batches(seed)
    work = saturating(work, 1 + seed % 5) if seed % 3 == 0 else work
    run = ran(work, tmp_path / "rtl")
    assert run.equal, run.differences


@icarus
@pytest.mark.parametrize(
    ("make", "seed"), [(random_passes, i) for i in range(PASSES)] + [(random_map, i) for i in range(MAPS)]
)
def test_random_passes_and_maps(tmp_path, make, seed):
    work = make(seed).work
    work = saturating(work, 1 + seed % 5) if seed % 2 else work
    run = ran(work, tmp_path / "rtl")
    assert run.equal, run.differences


@verilator
def test_passes_on_verilator(tmp_path):
    run = ran(random_passes(7).work, tmp_path / "rtl", "verilator")
    assert run.equal, run.differences


@verilator
@pytest.mark.parametrize("stream", ["columns", "layer"])
def test_alexnet_fc8_streamed(fc8, tmp_path, stream):
    """On the machine's own bus, 64 bits a cycle, which sets the pace."""
    layer, activations = fc8
    program = eie.compile(layer, eie.EIE_64PE)
    work = streamed(works(program, activations)[0], stream=stream)
    ((checked, _),) = check_works([work], write_works([work], tmp_path / "rtl"), simulator="verilator")
    print(checked)
    assert checked.equal


@icarus
@pytest.mark.parametrize("stream", ["columns", "layer"])
def test_a_streamed_convolution(stream):
    """LeNet-5's second layer where it does not stay: its 64 products are one turn."""
    spec = eie.EIE_64PE.replace(n_pe=8, spmat_kib=1, stream_kib=0.75, ptr_kib=8, stream=stream)
    checked = check_rtl(eie.compile("lenet-5", spec, conv="im2col"), layer="conv2", simulator="icarus")
    print(checked)
    assert checked.equal


@verilator
@pytest.mark.parametrize("model", ["lenet-300-100", "lenet-5"])
def test_shipped_models(model):
    checked = check_rtl(model, samples=IMAGES, simulator="verilator", conv="im2col")
    print(checked)
    assert checked.equal


@verilator
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_lenet_5_by_scatter(layer):
    checked = check_rtl("lenet-5", layer=layer, samples=IMAGES, simulator="verilator", conv="scatter")
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
