"""A hundred mutations of a good file of every kind: an `EieError` or something that simulates, never anything else."""

import fuzz_files
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fuzz_files.build(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("name", fuzz_files.READ)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_hundred_mutations(folder, name):
    if not (folder / name).exists():
        pytest.skip("needs an extra of the package")
    assert fuzz_files.attempt(name, folder / name) == "read"
    outcomes = fuzz_files.fuzz(name, folder, 100)
    assert sum(outcomes.values()) == 100
    # A journal's damaged lines are passed over; its first line alone makes it somebody else's file.
    assert outcomes["refused"] > 0 or name == "journal.jsonl"
