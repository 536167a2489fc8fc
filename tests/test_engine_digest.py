"""What a journal's lines count as made by: every module and table that a row may depend on, by exclusion."""

import ast
import json
import shutil
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace

import pytest
from old_networks import shared_by_0_1

import eie
from eie.sweeps.compact import Columns
from eie.sweeps.journal import entry_of
from eie.sweeps.plan import OUTSIDE, digest_of, engine_digest

PACKAGE = Path(eie.__file__).parent
FILES = sorted(
    str(file.relative_to(PACKAGE))
    for file in PACKAGE.rglob("*")
    if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
)
INSIDE = [file for file in FILES if Path(file).parts[0] not in OUTSIDE]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package whose files can be touched."""
    folder = tmp_path_factory.mktemp("package") / "eie"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Kept(SimpleNamespace):
    """A file or folder of the package in memory: 600 digests of files on a disk would take seconds."""

    def is_dir(self):
        return isinstance(self.content, dict)

    def iterdir(self):
        return [Kept(name=name, content=content) for name, content in self.content.items()]

    def read_bytes(self):
        return self.content


def in_memory(folder):
    names = sorted(path.name for path in folder.iterdir())
    return {
        name: in_memory(folder / name) if (folder / name).is_dir() else (folder / name).read_bytes() for name in names
    }


def test_a_touch_of_any_module_or_table_is_another_engine(copy):
    package = Kept(name="eie", content=in_memory(copy))
    whole = digest_of(package)
    assert whole == digest_of(copy) == engine_digest()
    assert {"model/geometry/conv2d.py", "model/graph.py", "simulator/network.py", "energy/data/sram_cacti7.csv"} <= set(
        INSIDE
    )
    for file in FILES:
        *folders, name = Path(file).parts
        folder = reduce(getitem, folders, package.content)
        content = folder[name]
        folder[name] = content + b"\n"
        changed = digest_of(package) != whole
        folder[name] = content
        assert changed == (file in INSIDE), file
    assert digest_of(package) == whole


def test_a_new_or_renamed_module_is_another_engine(copy):
    whole, new = digest_of(copy), copy / "simulator" / "shortcut.py"
    new.write_text("")
    assert digest_of(copy) != whole
    new.unlink()
    old = copy / "simulator" / "fast.py"
    old.rename(copy / "simulator" / "faster.py")
    assert digest_of(copy) != whole
    (copy / "simulator" / "faster.py").rename(old)
    for left in ("simulator/__pycache__/fast.cpython-311.pyc", "simulator/.fast.py.swp", "simulator/fast.py~"):
        (copy / left).parent.mkdir(exist_ok=True)
        (copy / left).write_text("")
    assert digest_of(copy) == whole


def imported(module):
    """The package's modules that a module imports when it is loaded."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(path.read_text()).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = PACKAGE.joinpath(*name.split(".")[1:])
            if name.startswith("eie.") and (file.is_dir() or file.with_suffix(".py").is_file()):
                yield name


def outside(module):
    """Whether a module is left out: by its folder, or by its file where it stands at the top."""
    top = module.split(".")[1]
    return top in OUTSIDE or f"{top}.py" in OUTSIDE


def test_nothing_outside_is_imported_by_what_makes_rows():
    waiting, reached = [f"eie.sweeps.{file.stem}" for file in (PACKAGE / "sweeps").glob("*.py")], set()
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported(module.removesuffix(".__init__"))
    assert {"eie.model.geometry", "eie.model.graph", "eie.simulator.network", "eie.importers"} <= reached
    assert [module for module in sorted(reached) if outside(module)] == []


def test_nothing_outside_is_loaded_while_rows_are_made(tmp_path):
    """What is imported inside functions shows only in a running sweep."""
    code = (
        "import sys, numpy as np, eie\n"
        "layer = eie.Layer.from_weights('a', np.eye(4))\n"
        f"eie.sweep((layer, np.ones(4)), {{'n_pe': [1, 2]}}, journal={str(tmp_path / 'j.jsonl')!r}).to_csv()\n"
        "print(*[name for name in sys.modules if name.startswith('eie.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = done.stdout.split()
    assert "eie.simulator.fast" in loaded
    assert [name for name in loaded if outside(name)] == []


def test_lines_of_another_engine_are_named_and_made_again(tmp_path, monkeypatch):
    layer, path, vary = eie.Layer.from_weights("a", [[1.0, 2.0]]), tmp_path / "j.jsonl", {"n_pe": [1, 2]}
    monkeypatch.setattr("eie.sweeps.plan.engine_digest", lambda: "of another day and age")
    first = eie.sweep((layer, [1.0, 1.0]), vary, journal=path)
    assert first.notes == ()
    monkeypatch.undo()
    second = eie.sweep((layer, [1.0, 1.0]), vary, journal=path)
    assert second.notes == (f"{path}: 2 points of another state of eie in this journal are not continued",)
    assert second.to_csv() == first.to_csv()
    entries = [entry_of(line) for line in path.read_bytes().splitlines()[1:]]
    assert [entry["engine"] for entry in entries] == ["of another day a"] * 2 + [engine_digest()[:16]] * 2


def test_a_journal_of_0_1_is_not_continued(root, tmp_path, cli):
    old = root / "tests" / "fixtures" / "v0_1" / "journal.jsonl"
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(old, folder / "journal.jsonl")
    # Shared as 0.1 did: since then a bias does not enter clustering, which moves the levels.
    eie.save(shared_by_0_1(old.parent), tmp_path / "network.safetensors")
    words = [
        "sweep",
        tmp_path / "network.safetensors",
        "--vary",
        "n_pe=1,2",
        # What 0.1 did: maps have no price there.
        "--set",
        "residency=ideal",
        "-o",
        "results",
    ]
    code, _, err = cli(*words)
    assert code == 0
    line = "results/journal.jsonl: 2 points of eie 0.1 in this journal are not continued"
    assert err.count("not continued") == 1
    assert line in err
    lines = (folder / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == 1 + 2 + 2
    # The rows themselves are what 0.1 wrote, but for energies by activity, which have other prices since, and
    # for a note that names the residency; whatever is new is no matter.
    priced = "energy_activity"
    entries = [json.loads(line)["entry"] for line in lines[1:]]
    # Points come in the order in which threads finish them.
    first, again = (sorted(part, key=lambda entry: entry["changes"]["n_pe"]) for part in (entries[:2], entries[2:]))
    columns = Columns()
    for packed in again:
        columns.learn(packed)
    for old_entry, packed in zip(first, again, strict=True):
        entry = columns.unpacked(packed)
        rows = [entry["total"], *entry["layers"]]
        for before, row in zip([old_entry["total"], *old_entry["layers"]], rows, strict=True):
            same = {name: value for name, value in before.items() if name != "notes" and not name.startswith(priced)}
            assert {name: row[name] for name in same} == same
            assert len(same) > 20
