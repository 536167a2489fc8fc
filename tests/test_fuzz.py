"""A hundred mutations of a good file of every kind: an `EieError` or something that simulates, never anything else."""

from pathlib import Path

import forks
import fuzz_files
import pytest

from eie import importers
from eie.formats import hdf5
from eie.importers.containers import CONTAINERS
from eie.recording.inputs import PICTURES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fuzz_files.build(tmp_path_factory.mktemp("good"))


def test_every_registered_reader_has_a_file():
    names = [Path(name) for name in fuzz_files.READ]
    # A folder's own file stands for the folder.
    kinds = {importers._FOLDER if name.parent.name == "hf" else importers._kind(name) for name in names}
    # One reader, asked for under two names.
    alike = {".yml": ".yaml"}
    assert {alike.get(kind, kind) for kind in importers._READERS} <= kinds
    assert set(CONTAINERS) <= {name.suffix for name in names} | {".h5"}
    assert {".png", ".jpg"} == {".jpg" if suffix == ".jpeg" else suffix for suffix in PICTURES}


@pytest.mark.parametrize("name", fuzz_files.READ)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_a_hundred_mutations(folder, name, monkeypatch):
    if not (folder / name).exists():
        pytest.skip("needs an extra of the package")
    # A new interpreter for each HDF5 file would be all that this test does.
    monkeypatch.setattr(hdf5, "subprocess", forks)
    assert fuzz_files.attempt(name, folder / name) == "read"
    # Half a second each: torch reads and exports anew what is not refused at once.
    times = 10 if name == "e.pt2" else 100
    outcomes = fuzz_files.fuzz(name, folder, times)
    assert sum(outcomes.values()) == times
    # A journal's damaged lines are passed over, its first line alone makes it somebody else's file; and any bytes are
    # weights to whoever reads them beside a model, whose settings are passed over where they are damaged.
    assert outcomes["refused"] > 0 or name in ("journal.jsonl", "x.data", "hf/config.json")


@pytest.mark.parametrize("name", ["program.safetensors", "net.eie", "net.npz", "net.safetensors", "trace.npz"])
def test_damage_reaches_behind_the_hash(folder, name):
    """Mutations that keep the hash right are refused for what they say, or read; else nothing behind it is tried."""
    import random

    import fuzz_deep

    good, draw, outcomes = (folder / name).read_bytes(), random.Random(0), set()
    for _ in range(60):
        data = fuzz_deep.deep(name, good, lambda part: fuzz_files.mutated(part, draw), draw)
        (folder / f"deep-{name}").write_bytes(data)
        try:
            fuzz_files.READ[name](folder / f"deep-{name}")
            outcomes.add("read")
        except fuzz_files.eie.EieError as error:
            outcomes.add(
                "hash" if "does not match its hash" in str(error) or "its hash says" in str(error) else "other"
            )
    assert outcomes >= {"other"}
    assert "hash" not in outcomes
