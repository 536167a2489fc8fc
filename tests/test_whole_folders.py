"""Commands that write several files, killed while they do: a new folder is whole or not there, an old one says so."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import eie
from eie.errors import EieError
from eie.rtl.write import SUMS, write_rtl
from eie.show.writing import whole_folder

# Killed by itself at the n-th file: at the very place, and by a signal that nothing can be done about.
SCRIPT = """
import os, signal, sys
import numpy as np
import eie
from eie.show import writing
import eie.rtl.write as module

left = int(sys.argv[1])
def dying(path, text, write=module.write_text):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)
module.write_text = dying
rng = np.random.default_rng(int(sys.argv[2]))
layers = [eie.Layer.from_weights(name, rng.integers(-1, 2, (4, 4)).astype(float)) for name in sys.argv[3].split(",")]
network = eie.Network(name="n", layers=layers, sequential=True)
eie.write_rtl(network, "out", np.ones(4), spec=eie.EIE_64PE.replace(n_pe=int(sys.argv[4])))
"""


def written(folder, root, *, files, seed=0, layers="a", n_pe=2):
    """Write in another process, killed after so many files; return its exit code."""
    words = [sys.executable, "-c", SCRIPT, str(files), str(seed), layers, str(n_pe)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=environment, check=False).returncode


def whole(folder):
    """Whether a folder is what its list of hashes says, as sha256sum --check does."""
    if not (folder / SUMS).is_file():
        return False
    lines = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {SUMS}
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    return hashes == lines


@pytest.mark.parametrize(("layers", "files"), [("a", 0), ("a", 7), ("a,b", 30)])
def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path, root, layers, files):
    assert written(tmp_path, root, files=files, layers=layers) == -9
    assert not (tmp_path / "out").exists()
    assert written(tmp_path, root, files=1000, layers=layers) == 0
    folders = [tmp_path / "out"] if layers == "a" else [tmp_path / "out" / "00-a", tmp_path / "out" / "01-b"]
    assert all(map(whole, folders))


def test_a_folder_that_is_written_over_says_that_it_is_not_whole(tmp_path, root):
    assert written(tmp_path, root, files=1000, n_pe=4) == 0
    before = {file.name for file in (tmp_path / "out").rglob("*.hex")}
    assert written(tmp_path, root, files=9, seed=1) == -9
    assert not (tmp_path / "out" / SUMS).exists()
    assert written(tmp_path, root, files=1000, seed=1) == 0
    assert whole(tmp_path / "out")
    # Memories of four PEs are none of two.
    assert before > {file.name for file in (tmp_path / "out").rglob("*.hex")}


def test_a_folder_that_was_killed_before_its_first_file_can_be_written(tmp_path):
    (tmp_path / "out").mkdir()
    layer = eie.Layer.from_weights("a", np.eye(4))
    write_rtl(layer, tmp_path / "out", np.ones(4), spec=eie.EIE_64PE.replace(n_pe=2))
    assert whole(tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(EieError, match="holds other files"):
        write_rtl(layer, tmp_path / "other", np.ones(4), spec=eie.EIE_64PE.replace(n_pe=2))


def test_nothing_is_left_of_a_folder_that_failed(tmp_path):
    def fails():
        with whole_folder(tmp_path / "new") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EieError, match="cannot be made"), whole_folder(tmp_path / "a" / ("x" * 300)):
        pass


def test_notebooks_that_were_cut_short_are_completed_by_the_same_command(cli, tmp_path, monkeypatch):
    from eie.show import writing

    left, write = [5], writing.replacing

    def stopping(path):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return write(path)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "replacing", stopping)
        assert cli("notebooks", tmp_path / "n")[0] == 130
    half = {file for file in (tmp_path / "n").rglob("*") if file.is_file()}
    assert len(half) == 5
    assert cli("notebooks", tmp_path / "n")[0] == 0
    assert cli("notebooks", tmp_path / "whole")[0] == 0
    names = lambda top: {(str(file.relative_to(top)), file.read_bytes()) for file in top.rglob("*") if file.is_file()}  # noqa: E731
    assert names(tmp_path / "n") == names(tmp_path / "whole")
