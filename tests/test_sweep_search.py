"""Searches: Optuna's points through the same journal into the same table."""

import numpy as np
import pytest

import eie
from eie.errors import SweepError

pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("default:::optuna")
VARY = {"n_pe": "1:64", "act_queue_depth": [2, 4, 8, 16], "spmat_row_bits": [32, 64, 128]}


@pytest.fixture
def work():
    rng = np.random.default_rng(0)
    fc = eie.Layer.from_weights("fc", rng.choice([0.0, 0.0, 0.0, 1.0], (64, 60)))
    return fc, rng.random(60) < 0.5


def test_a_search_finds_the_best_and_goes_on_behind_its_journal(work, tmp_path):
    best = min(row["latency_us"] for row in eie.sweep(work, VARY).totals)
    path = tmp_path / "journal.jsonl"
    few = eie.sweep(work, VARY, optimise=["latency"], trials=16, journal=path)
    lines = len(path.read_bytes().splitlines())
    assert 1 < lines <= 17
    more = eie.sweep(work, VARY, optimise=["latency"], trials=48, journal=path)
    assert min(row["latency_us"] for row in more.totals) <= 1.05 * best
    assert {more.point(row) for row in more.totals} > {few.point(row) for row in few.totals}
    assert len(path.read_bytes().splitlines()) == 1 + len(more.totals)
    assert more.rows == eie.sweep(work, VARY, optimise="latency", trials=48).rows
    grid = {row["n_pe"]: tuple(row.values()) for row in eie.sweep(work, VARY).totals if row["act_queue_depth"] == 8}
    assert grid
    keys = [(row["n_pe"], row["act_queue_depth"], row["spmat_row_bits"]) for row in more.totals]
    assert keys == sorted(keys)


def test_a_small_space_is_evaluated_as_a_whole(work):
    vary = {"n_pe": [1, 2], "act_queue_depth": [2, 8]}
    assert eie.sweep(work, vary, optimise=["energy", "area"], trials=4).rows == eie.sweep(work, vary).rows


def test_failed_trials_are_rows_too(work):
    vary = {"n_pe": "1:32", "spmat_row_bits": [7, 64]}
    result = eie.sweep([work, (work[0], ~work[1])], vary, optimise=["latency", "energy"], trials=12)
    assert result.failed
    assert result.totals
    assert len(result.failed) % 2 == len(result.totals) % 2 == 0


@pytest.mark.parametrize(("names", "trials", "text"), [(["speed"], 8, "objective 'speed'"), (["area"], 0, "trials=0")])
def test_what_cannot_be_searched_for(work, names, trials, text):
    with pytest.raises(SweepError, match=text):
        eie.sweep(work, VARY, optimise=names, trials=trials)
