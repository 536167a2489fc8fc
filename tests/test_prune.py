"""Masks: the exact number of units, the right structure, the least important first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compression.pruning.balance import balanced_mask
from eie.compression.pruning.prune import compact, global_masks, keep_largest, kept_count, prune_mask, with_mask
from eie.compression.pruning.score import Evidence, block_scores
from eie.model.geometry import Conv2d

SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 20))
CRITERIA = ["magnitude", "l2", "taylor", "obd", "random"]


def drawn(shape, seed, ties=False):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-2, 3, shape) if ties else rng.standard_normal(shape)
    return weights.astype(np.float32)


def evidence_for(weights, seed=0):
    rng = np.random.default_rng(seed)
    return Evidence(rng.standard_normal(weights.shape), rng.random(weights.shape), seed)


@given(SHAPES, st.floats(0, 1), st.sampled_from(CRITERIA), st.booleans(), st.integers(0, 999))
@settings(max_examples=120)
def test_fine_grained_count_is_exact(shape, density, criterion, ties, seed):
    weights = drawn(shape, seed, ties)
    mask = prune_mask(
        weights=weights, granularity="fine", density=density, criterion=criterion, evidence=evidence_for(weights)
    )
    assert mask.shape == shape
    assert np.count_nonzero(mask) == int(np.floor(density * weights.size + 0.5))


@given(SHAPES, st.floats(0, 1), st.sampled_from(["row", "neuron", "filter", "channel"]), st.integers(0, 999))
def test_rows_go_whole(shape, density, granularity, seed):
    mask = prune_mask(weights=drawn(shape, seed), granularity=granularity, density=density, criterion="l2")
    assert (mask.all(axis=1) | ~mask.any(axis=1)).all()
    assert np.count_nonzero(mask[:, 0]) == kept_count(density, shape[0])


@given(SHAPES, st.floats(0, 1), st.integers(0, 999))
def test_columns_go_whole(shape, density, seed):
    mask = prune_mask(drawn(shape, seed), "column", density)
    assert (mask.all(axis=0) | ~mask.any(axis=0)).all()
    assert np.count_nonzero(mask[0]) == kept_count(density, shape[1])


@given(SHAPES, st.tuples(st.integers(1, 6), st.integers(1, 6)), st.floats(0, 1), st.integers(0, 999))
def test_blocks_go_whole(shape, block, density, seed):
    weights = drawn(shape, seed)
    mask = prune_mask(weights, "block", density, block=block)
    kept = 0
    for i in range(0, shape[0], block[0]):
        for j in range(0, shape[1], block[1]):
            part = mask[i : i + block[0], j : j + block[1]]
            assert part.all() or not part.any()
            kept += bool(part.any())
    units = -(-shape[0] // block[0]) * -(-shape[1] // block[1])
    assert kept == kept_count(density, units)


@given(SHAPES, st.integers(1, 6), st.integers(0, 5), st.sampled_from(CRITERIA), st.integers(0, 999))
def test_n_of_every_m(shape, n, further, criterion, seed):
    m = n + further
    weights = drawn(shape, seed, ties=True)
    mask = prune_mask(weights, f"{n}:{m}", criterion=criterion, evidence=evidence_for(weights))
    for start in range(0, shape[1], m):
        part = mask[:, start : start + m]
        assert (part.sum(axis=1) == min(n, part.shape[1])).all()


def test_the_seeds_example_of_two_in_four():
    weights = np.array([[0.8, 0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 0.6]])
    assert (weights * prune_mask(weights, "2:4")).tolist() == [[0.8, 0, 0.9, 0, 0, 0.7, 0, 0.6]]


def test_the_least_weights_go_first():
    weights = np.array([[3, -1, 2], [-5, 4, -6]], np.float32)
    assert (weights * prune_mask(weights, density=0.5)).tolist() == [[0, 0, 0], [-5, 4, -6]]


def test_each_criterion_by_hand():
    weights = np.array([[1.0, 2.0, 3.0, 4.0]])
    given_ = Evidence(np.array([[9.0, -1.0, 1.0, 0.5]]), np.array([[1.0, 0.0, 0.1, 0.0]]))
    assert block_scores(weights=weights, block=(1, 1), criterion="taylor", evidence=given_).tolist() == [[9, 2, 3, 2]]
    assert block_scores(weights=weights, block=(1, 1), criterion="obd", evidence=given_) == pytest.approx(
        np.array([[0.5, 0, 0.45, 0]])
    )
    assert block_scores(weights, (1, 2), "magnitude").tolist() == [[1.5, 3.5]]
    assert block_scores(weights, (1, 2), "l2") == pytest.approx(np.sqrt([[2.5, 12.5]]))
    # A block's first-order change is that of the sum: 9 and -2 partly cancel.
    assert block_scores(weights=weights, block=(1, 2), criterion="taylor", evidence=given_).tolist() == [[3.5, 2.5]]


def test_smaller_blocks_at_the_edge_compare_by_weight():
    weights = np.array([[1.0, 1.0, 3.0]])
    assert block_scores(weights, (1, 2)).tolist() == [[1, 3]]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_what_is_pruned_stays_pruned(criterion):
    weights = drawn((12, 12), 3)
    weights[np.random.default_rng(4).random((12, 12)) < 0.5] = 0
    left = np.count_nonzero(weights)
    mask = prune_mask(weights, density=0.25, criterion=criterion, evidence=evidence_for(weights))
    assert left > 36
    assert np.count_nonzero(weights[mask]) == 36


def test_random_is_seeded():
    weights = drawn((20, 20), 0)
    masks = [prune_mask(weights, density=0.5, criterion="random", evidence=Evidence(seed=seed)) for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_ties_go_to_the_first():
    assert keep_largest(np.array([1.0, 2, 1, 1]), 2).tolist() == [True, True, False, False]


@given(st.lists(st.tuples(SHAPES, st.integers(0, 99)), min_size=1, max_size=4), st.floats(0, 1))
def test_global_ranking_meets_the_total(parts, density):
    scores = [block_scores(drawn(shape, seed)) for shape, seed in parts]
    masks = global_masks(scores, density)
    assert [mask.shape for mask in masks] == [one.shape for one in scores]
    assert sum(map(np.count_nonzero, masks)) == kept_count(density, sum(one.size for one in scores))
    kept = np.concatenate([one[mask] for one, mask in zip(scores, masks, strict=True)])
    gone = np.concatenate([one[~mask] for one, mask in zip(scores, masks, strict=True)])
    if len(kept) and len(gone):
        assert kept.min() >= gone.max()


@given(SHAPES, st.integers(1, 24), st.floats(0, 1), st.integers(0, 999))
@settings(max_examples=120)
def test_balanced_pruning_gives_each_pe_as_many(shape, n_pe, density, seed):
    weights = drawn(shape, seed)
    mask = balanced_mask(block_scores(weights), density, n_pe)
    held = [np.count_nonzero(mask[pe::n_pe]) for pe in range(n_pe)]
    room = [mask[pe::n_pe].size for pe in range(n_pe)]
    assert sum(held) == kept_count(density, mask.size)
    most = max(held)
    # Whoever has less than the most, less one, is full.
    assert all(have >= most - 1 or have == space for have, space in zip(held, room, strict=True))


def test_balanced_pruning_of_a_pruned_layer_counts_what_is_left():
    weights = drawn((8, 10), 0)
    weights[0::4] = 0
    weights[0, 0] = 1
    mask = balanced_mask(block_scores(weights), 0.5, 4)
    assert [np.count_nonzero(weights[pe::4] * mask[pe::4]) for pe in range(4)] == [1, 13, 13, 13]


def test_balanced_pruning_keeps_the_best_of_each():
    weights = np.array([[1.0, 2, 3], [10, 20, 30]])
    assert balanced_mask(block_scores(weights), 1 / 3, 2).tolist() == [[False, False, True]] * 2


def test_grouped_convolutions_have_only_their_own_weights():
    kernel = np.arange(1, 1 + 4 * 2 * 3 * 3).reshape(4, 2, 3, 3).astype(np.float32)
    layer = eie.Layer.from_conv("conv", kernel, conv=Conv2d(in_channels=4, out_channels=4, kernel=(3, 3), groups=2))
    weights = compact(layer, layer.weights)
    assert np.array_equal(weights, kernel.reshape(4, 18))
    pruned = with_mask(layer, prune_mask(weights, density=0.25))
    assert pruned.matrix.nnz == 18
    assert np.array_equal(pruned.kernel, np.where(kernel > 54, kernel, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granularity": "fin"}, "granularity='fin': must be N:M or one of fine, block, row"),
        ({"granularity": "4:2"}, "granularity='4:2': keeps 4 of 2: must be at most 2"),
        ({"criterion": "size"}, "criterion='size': must be one of magnitude, l2, taylor, obd, random"),
        ({"criterion": "taylor"}, r"criterion='taylor': needs a gradient of shape \(2, 2\): none given"),
        ({"criterion": "obd", "evidence": Evidence(curvature=np.ones(3))}, r"needs a curvature .*: shape \(3,\)"),
    ],
)
def test_wrong_requests(arguments, message):
    with pytest.raises(eie.EieError, match=message):
        prune_mask(np.ones((2, 2)), **arguments)


def test_a_mask_of_another_shape():
    with pytest.raises(eie.EieError, match=r"layer 'a': mask of shape \(2,\): must be \(2, 2\)"):
        with_mask(eie.Layer.from_weights("a", np.ones((2, 2))), np.ones(2, bool))
