"""Masks as uneven as real pruned layers: the measure, the generator, and the data file of measured layers."""

import math

import numpy as np
import pytest

import eie
from eie.model.matrix import SparseColumns
from eie.studies.paper.bench import REAL_LAYER, Bench
from eie.studies.paper.masks import EVEN, Spread, draw, measure, measured_layers, measured_spread


def pattern(mask):
    return SparseColumns.from_dense(np.asarray(mask, np.uint8), "mask")


def spread_of(mask):
    """The definition, on a dense mask."""
    density = mask.mean()
    found = []
    for counts, draws in ((mask.sum(axis=1), mask.shape[1]), (mask.sum(axis=0), mask.shape[0])):
        excess = counts.var() - draws * density * (1 - density)
        found.append(math.sqrt(max(0, excess)) / counts.mean())
    return density, *found


def test_measure_is_the_definition():
    rng = np.random.default_rng(0)
    mask = rng.random((60, 90)) < rng.random((60, 1)) * rng.random((1, 90))
    assert measure(pattern(mask)) == pytest.approx(spread_of(mask))


def test_measure_sees_no_spread_in_even_masks():
    mask = np.tile(np.arange(8) % 2, (6, 1))
    _, rows, columns = measure(pattern(mask))
    assert rows == 0
    assert columns > 0.9


@pytest.mark.parametrize("spread", [EVEN, measured_spread(), Spread(0.6, 0.4, "wide")])
def test_draw_keeps_density_and_spread(spread):
    drawn = draw(rows=3000, columns=2000, density=0.1, spread=spread, rng=np.random.default_rng(1))
    density, rows, columns = measure(drawn)
    assert density == pytest.approx(0.1, rel=0.02)
    assert rows == pytest.approx(spread.row_cv, abs=0.02)
    assert columns == pytest.approx(spread.column_cv, abs=0.02)
    assert (np.diff(drawn.starts) >= 0).all()
    ascending = np.diff(drawn.rows) > 0
    ascending[drawn.starts[1:-1] - 1] = True
    assert ascending.all()
    assert drawn.rows.max() < 3000


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_draw_at_the_ends(density):
    assert draw(rows=5, columns=7, density=density, spread=EVEN, rng=np.random.default_rng(0)).nnz == 35 * density


def test_draw_is_seeded():
    one, two = (
        draw(rows=50, columns=40, density=0.3, spread=measured_spread(), rng=np.random.default_rng(3)) for _ in range(2)
    )
    assert np.array_equal(one.rows, two.rows)


def test_lenet_is_as_measured(shared):
    table = {layer.name: layer for layer in measured_layers()}
    for name, layer in zip(
        ("ip1", "ip2", "ip3"), eie.load(shared / "data" / "lenet300_fashion.npz").layers, strict=True
    ):
        row = table[f"LeNet-300-100 {name}"]
        assert (row.rows, row.columns) == layer.matrix.shape
        assert measure(layer.matrix) == pytest.approx((row.density, row.row_cv, row.column_cv), abs=6e-4)


def test_the_shipped_lenet_is_uneven_too():
    """The row and column CVs that docs/validation.md states."""
    found = [measure(layer.matrix)[1:] for layer in eie.load("lenet-300-100").layers]
    assert np.array(found) == pytest.approx(np.array([[0.41, 0.78], [0.26, 0.73], [0.10, 0.0]]), abs=0.006)


def test_fc8_is_as_measured(fc8):
    layer, _ = fc8
    row = measured_layers()[0]
    assert measure(layer.matrix) == pytest.approx((row.density, row.row_cv, row.column_cv), abs=6e-4)


def test_squeezenet_is_as_measured(shared):
    table = {layer.name: layer for layer in measured_layers() if layer.name.startswith("SqueezeNet")}
    seen = set()
    for name, mask in squeezenet(shared / "data" / "compressed_SqueezeNet.net"):
        if mask.mean() < 0.6:
            row = table[f"SqueezeNet {name}"]
            assert mask.shape == (row.rows, row.columns)
            assert spread_of(mask) == pytest.approx((row.density, row.row_cv, row.column_cv), abs=6e-4)
            seen.add(row.name)
    assert seen == set(table)


def test_the_generator_balances_like_the_real_layer(shared):
    """fc8's efficiency is between nothing known (random) and everything known (real); the spread gets nearly there."""
    file = shared / "data" / "alexnet_fc8.npz"
    bench = Bench(file)
    real = bench.efficiency(REAL_LAYER, "real")
    gaps = {mask: bench.efficiency(REAL_LAYER, mask) - real for mask in ("random", "spread")}
    print({mask: f"{gap:+.2%}" for mask, gap in gaps.items()})
    assert abs(gaps["spread"]) < 0.01 < abs(gaps["random"])


def squeezenet(file):
    """Masks (out, in x kh x kw) of Song Han's compressed SqueezeNet, read by its published format."""
    shapes = [("conv1", (96, 147))]
    width = 96
    expands = (64, 64, 128, 128, 192, 192, 256, 256)
    for number, expand in enumerate(expands, 2):
        squeeze = expand // 4
        shapes.append((f"fire{number}/squeeze1x1", (squeeze, width)))
        shapes.append((f"fire{number}/expand1x1", (expand, squeeze)))
        shapes.append((f"fire{number}/expand3x3", (expand, 9 * squeeze)))
        width = 2 * expand
    shapes.append(("conv10", (1000, 512)))
    raw = file.read_bytes()
    at = 4 * len(shapes)
    for (name, shape), entries in zip(shapes, np.frombuffer(raw, "<u4", len(shapes)).tolist(), strict=True):
        at += 4 * 256 + 4 * shape[0]
        codes = np.frombuffer(raw, np.uint8, entries, at)
        at += entries
        pairs = np.frombuffer(raw, np.uint8, (entries - 1) // 2 + 1, at)
        at += len(pairs)
        runs = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:entries].astype(np.int64)
        mask = np.zeros(shape, bool)
        mask.ravel()[(np.cumsum(runs + 1) - 1)[codes != 0]] = True
        yield name, mask
