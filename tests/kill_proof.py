"""Thirty kills of each long command, which takes minutes: ``make kill``. `test_kills` has three of each."""

import pytest
from kills import COMPRESS, GRANULARITY, SEARCH, SWEEP, same_after_kills, write_training

KILLS = 30


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("words", "steps"), [(SEARCH, 6), (GRANULARITY, 6), (SWEEP, 2)], ids=["search", "granularity", "sweep"]
)
def test_thirty_kills(tmp_path, words, steps):
    assert same_after_kills(words, tmp_path, kills=KILLS, steps=steps) == KILLS


@pytest.mark.timeout(3600)
def test_thirty_kills_of_training(tmp_path):
    pytest.importorskip("torch")
    write = lambda folder: write_training(folder, 12)  # noqa: E731
    assert same_after_kills(COMPRESS, tmp_path, kills=KILLS, steps=1, write=write) == KILLS
