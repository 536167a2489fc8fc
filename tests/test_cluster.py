"""Clustering: at most a thousandth above the least squared error, whatever the range; and the report says so."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import eie
from eie.compression.cluster import BINS, prefix_sums
from eie.compression.share import ShareReport, share
from eie.kernels import cluster

ROUNDING = 2.0**-24  # half a unit in the last place of a float32 level, relative


def tight(rng, n):
    """Forty levels, each with a few neighbouring float32 values: variances 1e-14 of the squares."""
    return 1 + rng.integers(0, 40, n) / 64 + rng.integers(0, 9, n) * 2.0**-23


DRAWS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "pruned": lambda rng, n: rng.choice([-1, 1], n) * (0.1 + rng.exponential(size=n)),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: np.exp(3 * rng.standard_normal(n)),
    "few levels": lambda rng, n: rng.integers(1, 40, n) / 8,
    "two points": lambda rng, n: rng.choice([-0.5, 0.25], n),
    "outlier 1e4": lambda rng, n: np.append(rng.normal(0, 0.02, n - 1), 1e4),
    "outliers 1e8": lambda rng, n: np.append(rng.normal(0, 0.02, n), [-1e8, 1e8])[-n:],
    "all equal": lambda _, n: np.full(n, 0.3),
    "tiny": lambda rng, n: 1e-30 * rng.standard_normal(n),
    "tiny beside huge": lambda rng, n: rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n),
    "duplicates": lambda rng, n: rng.choice(rng.standard_normal(max(n // 9, 1)), n),
    "tight": tight,
}


def layer_of(values, bias=None):
    return eie.Layer.from_weights("layer", np.asarray(values, np.float32).reshape(-1, 1), bias)


def drawn(name, n, seed):
    values = DRAWS[name](np.random.default_rng(seed), n).astype(np.float32)
    return np.where(values == 0, np.float32(1e-30), values)


def squared_error(values, levels):
    """Of float32 values at their nearest levels, and what rounding the levels to float32 can have added."""
    values, levels = np.asarray(values, float), np.sort(np.asarray(levels, float))
    at = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return ((values - levels[at]) ** 2).sum(), ((ROUNDING * levels[at]) ** 2).sum()


def assert_near(values, shared, best):
    ours, rounding = squared_error(values, shared.codebook[1:])
    assert ours <= 1.001 * best + rounding, f"{ours / best - 1:.4%} above the optimum"


@given(st.sampled_from(sorted(DRAWS)), st.integers(1, 80), st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
@example("outlier 1e4", 80, 0, 4)
@example("outliers 1e8", 80, 0, 4)
@example("tiny beside huge", 80, 0, 4)
@example("tight", 80, 0, 4)
def test_few_values_take_the_optimum(name, n, seed, bits):
    values = drawn(name, n, seed)
    shared, report = share(layer_of(values), bits)
    assert_near(values, shared, naive.least_error(values, (1 << bits) - 1))
    if name != "tight":  # there, two means can round to one float32
        assert report.levels == min((1 << bits) - 1, len(np.unique(values)))


@pytest.mark.long
@given(st.sampled_from(sorted(DRAWS)), st.integers(81, 20_000), st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]))
@settings(max_examples=20, deadline=None)
@example("cauchy", 20_000, 0, 4)
@example("lognormal", 20_000, 0, 8)
@example("normal", 20_000, 0, 8)
@example("outliers 1e8", 20_000, 0, 8)
def test_many_values_come_within_a_thousandth(name, n, seed, bits):
    """Against kmeans1d, whose groups are priced here: its own prices cancel beside an outlier."""
    kmeans1d = pytest.importorskip("kmeans1d")
    values = drawn(name, n, seed)
    shared, _ = share(layer_of(values), bits)
    groups = np.array(kmeans1d.cluster(values.astype(float), min((1 << bits) - 1, len(np.unique(values)))).clusters)
    means = [values[groups == group].astype(float).mean() for group in np.unique(groups)]
    assert_near(values, shared, squared_error(values, means)[0])


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_bins_keep_their_promise(name):
    """The bound of the docstring, turned round: OPT is at least (sqrt(programme) - sqrt(W))^2."""
    values = np.sort(drawn(name, 20_000, 7))
    starts, means, errors = np.zeros(BINS, np.int64), np.zeros(BINS), np.zeros(BINS)
    bins = cluster.split_bins(ordered=values, starts=starts, means=means, errors=errors)
    edges = np.append(np.sort(starts[:bins]), len(values))
    wide = values.astype(float)
    inside = sum(np.var(wide[a:b]) * (b - a) for a, b in pairwise(edges))
    order = np.argsort(starts[:bins])
    assert errors[:bins].sum() == pytest.approx(inside, rel=1e-6, abs=1e-90)
    for mean, (a, b) in zip(means[order], pairwise(edges), strict=True):
        assert abs(mean - wide[a:b].mean()) <= 1e-12 * np.abs(wide[a:b]).mean()
    if bins < BINS:
        assert bins == len(np.unique(values))
    splits = np.zeros(min(15, bins) + 1, np.int64)
    cluster.exact_splits(mass=edges.astype(float), values=means[order], splits=splits)
    mass = np.diff(edges)
    of_means = 0.0
    for a, b in pairwise(splits):
        gaps = means[order][a:b] - np.average(means[order][a:b], weights=mass[a:b])
        of_means += (mass[a:b] * gaps**2).sum()
    shared, _ = share(layer_of(values))
    ours, rounding = squared_error(values, shared.codebook[1:])
    lower = max(np.sqrt(of_means) - np.sqrt(inside), 0) ** 2
    assert lower <= ours * (1 + 1e-9) + rounding
    assert ours <= 1.01 * lower + rounding


def test_outliers_beyond_the_bins_leave_the_rest_its_levels():
    """More distinct values than bins, so that none is exact by itself: each outlier costs one level, no more."""
    bulk = np.random.default_rng(0).normal(0, 0.02, 50_000).astype(np.float32)
    with_outliers, report = share(layer_of(np.append(bulk, np.float32([-1e8, 1e4, 1e8]))))
    fifteen = share(layer_of(bulk), 4)[0].codebook[1:]
    rest = np.sort(with_outliers.codebook[1:])[1:-2]
    assert with_outliers.codebook[[1, -2, -1]].tolist() == [np.float32(-1e8), np.float32(1e4), np.float32(1e8)]
    assert len(rest) == 12
    assert report.levels == 15
    error, best = squared_error(bulk, rest)[0], squared_error(bulk, fifteen)[0]
    assert best < error < best * (15 / 12) ** 2 * 1.1
    assert report.relative_error < 1e-8
    assert 0.1 < np.median(report.tenths) < 0.3


def with_weight(network, layer, value):
    """``network`` with one weight of its first layer set, at a pixel that is black in every image."""
    first = network.layers[0]
    black = np.flatnonzero(~next(iter(network.trace.layers.values())).dense().any(axis=0))
    weights = first.matrix.dense().astype(np.float32)
    row, column = next((row, column) for column in black for row in np.flatnonzero(weights[:, column]))
    weights[row, column] = value
    changed = eie.Layer.from_weights(first.name, weights, first.bias, relu=first.relu)
    return weights, replace(network, layers=(changed, *network.layers[1:]))


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-300-100-dense"])
def test_one_weight_of_1e4_in_a_real_layer_spoils_nothing(name):
    """Of float32: in fixed point, a layer's one format must hold 1e4, which leaves the others few bits."""
    network = eie.load(name)
    weights, spoilt = with_weight(network, 0, 1e4)
    before, after = (eie.simulate(eie.compile(net)) for net in (network, spoilt))
    print(f"{name}: {before.accuracy.float32:.2%} before, {after.accuracy.float32:.2%} with one weight of 1e4")
    assert after.accuracy.float32 == pytest.approx(before.accuracy.float32, abs=0.015)
    report = after.layers[0].encoded.shared
    assert report.levels == 15
    bulk = (weights != 0) & (weights != 1e4)
    error = (after.layers[0].encoded.decode() - weights)[bulk].astype(float)
    relative = np.sqrt(np.square(error).sum() / np.square(weights[bulk].astype(float)).sum())
    assert relative < 0.15
    assert np.median(report.tenths) < 0.2
    if name == "lenet-300-100":  # fifteen values of its own: one more has to merge only two
        assert relative < 0.06


def test_the_error_by_tenths_is_that_of_each_tenth():
    values = drawn("cauchy", 2000, 3)
    shared, report = share(layer_of(values))
    order = np.argsort(np.abs(values), kind="stable")
    kept = shared.weights[:, 0].astype(float)
    for tenth, error in zip(np.array_split(order, 10), report.tenths, strict=True):
        wanted = np.linalg.norm((kept - values)[tenth]) / np.linalg.norm(values[tenth].astype(float))
        assert error == pytest.approx(wanted, rel=1e-5)
    assert share(layer_of(values[:20]), 4)[1].tenths
    assert len(share(layer_of(values[:4]), 1)[1].tenths) == 10
    assert share(layer_of(values[:15]), 4)[1].tenths == ()


def report_of(**changes):
    fields = {"levels": 15, "exact": False, "rms_error": 0.1, "max_error": 0.2, "relative_error": 0.098}
    return ShareReport(**{**fields, "bias_max_error": 0.0, **changes})


def test_the_note_names_levels_and_what_an_outlier_cannot_hide():
    start = "weights clustered to 15 values, relative error 9.8 %"
    tenths = (0.31, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05)
    assert report_of(tenths=tenths).note == f"{start} (tenths by magnitude: median 10.0 %, worst 31.0 %, the smallest)"
    assert report_of(tenths=tenths[::-1]).note.endswith("worst 31.0 %, the largest)")
    assert report_of(tenths=(0.1, *tenths[:9])).note.endswith("worst 31.0 %, number 2 from below)")
    assert report_of().note == start
    assert report_of(exact=True).note == ""


def test_levels_count_those_in_use():
    """Evenly spaced starts leave clusters empty beside an outlier; the codebook keeps them, the report does not."""
    values = np.append(np.random.default_rng(0).normal(0, 0.02, 3000), 1e4)
    shared, report = share(layer_of(values), init="linear")
    assert len(shared.codebook) > report.levels + 1 == 3


def test_neighbouring_values_keep_their_borders():
    """Sixteen values for fifteen levels, most of them neighbours: one pair merges, at one unit in the last place."""
    values = np.append(1 + np.arange(14) * 2.0**-23, [5.0, 6.0]).astype(np.float32)
    shared, report = share(layer_of(values))
    assert squared_error(values, shared.codebook[1:])[0] <= 1.01 * 2.0**-46
    assert report.levels == 15


def test_prefix_sums_keep_small_values_apart_from_large_ones():
    ordered = np.sort(np.append(np.random.default_rng(0).normal(0, 1e-20, 1000), [-1e30, 1e30]).astype(np.float32))
    sums = prefix_sums(ordered)
    for i, j in ((1, 400), (300, 700), (600, 1001), (0, 1), (1001, 1002)):
        assert sums[j] - sums[i] == pytest.approx(ordered[i:j].sum(dtype=np.longdouble), rel=1e-9, abs=0)


def test_runs_and_threads_agree():
    layers = [layer_of(drawn(name, 20_000, 5)) for name in ("normal", "cauchy")]
    alone = [share(layer)[0].codebook.tobytes() for layer in layers]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda layer: share(layer)[0].codebook.tobytes(), layers * 4))
    assert together == alone * 4


def test_kernels_agree_without_compilation(root, monkeypatch):
    """NumPy's own scalars round to float32 where compiled code is wide: the bins must not depend on it."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    code = (
        "import numpy as np; from eie.compression.share import share; import eie\n"
        "values = np.random.default_rng(0).standard_cauchy(300).astype(np.float32)[:, None]\n"
        "print(share(eie.Layer.from_weights('layer', values))[0].codebook.tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    values = np.random.default_rng(0).standard_cauchy(300).astype(np.float32)
    assert done.stdout.strip() == share(layer_of(values))[0].codebook.tobytes().hex()


def test_program_files_hold_the_tenths_and_those_of_version_0_1_none(tmp_path):
    program = eie.compile(layer_of(drawn("normal", 500, 0)))
    program.save(tmp_path / "new.safetensors")
    again = eie.Program.load(tmp_path / "new.safetensors")
    assert again.layers[0].shared == program.layers[0].shared
    assert len(again.layers[0].shared.tenths) == 10
    encoded = program.layers[0]
    old = replace(program, layers=(replace(encoded, shared=replace(encoded.shared, tenths=())),))
    old.save(tmp_path / "old.safetensors")
    assert b"tenths" not in (tmp_path / "old.safetensors").read_bytes()
    loaded = eie.Program.load(tmp_path / "old.safetensors")
    assert loaded.content_hash == old.content_hash
    assert loaded.layers[0].shared.tenths == ()
