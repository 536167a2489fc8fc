"""The folder of compiled kernels: any damage is noticed before numba unpickles it, said once, and compiled anew."""

import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

from eie.cli.doctor import _sizes
from eie.kernels import checked, folders, jit
from eie.kernels.checked import CheckedFile
from eie.kernels.folders import KEPT, clear_away, hold

# One small kernel of the package's, so that a first run takes a second and not ten.
KERNEL = """
def double(array):
    return array * 2
"""
SCRIPT = """
import numpy as np
from eie.kernels import jit
from kernel import double as plain
double = jit.njit(plain)
assert double(np.arange(3))[2] == 4
print(len(double.stats.cache_hits), len(double.stats.cache_misses))
"""


@pytest.fixture
def process(tmp_path, root):
    """Words and environment of a process of its own that compiles the kernel, or loads it."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    # In a folder beside, so that the package's sources stay as they are: the folder's key is theirs.
    paths = os.pathsep.join((str(tmp_path), str(root)))
    environment = {**os.environ, "EIE_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": paths}
    return [sys.executable, "-c", SCRIPT], environment


@pytest.fixture
def run(tmp_path, monkeypatch, caplog):
    """Do in this process what one of its own does: choose the folder, make the kernel anew, call it.

    Dozens of processes would import numba and nothing else; what the kernel is, is asked of its files alone.
    """
    (tmp_path / "kernel.py").write_text(KERNEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "_handles", handles := [])

    def run(**environment):
        for name, value in {"EIE_CACHE_DIR": str(tmp_path / "cache"), **environment}.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        monkeypatch.setattr(checked, "_said", [])
        caplog.clear()
        monkeypatch.setattr(jit, "CACHE_FOLDER", jit._choose_folder())
        double = jit.njit(runpy.run_path("kernel.py")["double"])
        assert double(np.arange(3))[2] == 4
        counts = len(double.stats.cache_hits), len(double.stats.cache_misses)
        return counts, str(jit.CACHE_FOLDER), "".join(f"{line}\n" for line in caplog.messages)

    yield run
    for handle in handles:
        os.close(handle)


def files(tmp_path, suffix):
    # Of our kernel; importing the package's other kernels compiles none of them.
    return sorted((tmp_path / "cache").glob(f"**/*.{suffix}"))


def test_the_second_run_loads(process, tmp_path):
    words, environment = process

    def run():
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    assert run() == ("0 1\n", "")
    assert run() == ("1 0\n", "")
    (file,) = files(tmp_path, "nbc")
    file.write_bytes(b"")
    assert run() == ("0 1\n", f"eie: {file}: damaged: kernels are compiled anew\n")


# A pickle that would write a file, were it loaded.
EVIL = b"cos\nsystem\n(S'touch RAN'\ntR."
DAMAGE = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "random": lambda _: bytes(range(256)) * 8,
    "a bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "a pickle": lambda _: EVIL,
    "a pickle behind the hash": lambda content: content[:45] + EVIL,
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damage_is_said_and_healed(run, tmp_path, suffix):
    run()
    for how, damage in DAMAGE.items():
        (file,) = files(tmp_path, suffix)
        file.write_bytes(damage(file.read_bytes()))
        counts, _, said = run()
        assert counts == (0, 1), how
        assert said == f"eie: {file}: damaged: kernels are compiled anew\n", how
    assert not (tmp_path / "RAN").exists()
    assert run()[0::2] == ((1, 0), "")


def test_a_file_in_the_place_of_another_is_damage(run, tmp_path):
    run()
    (data,), (index,) = files(tmp_path, "nbc"), files(tmp_path, "nbi")
    data.write_bytes(index.read_bytes())
    assert "damaged" in run()[2]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_files_that_others_may_write_are_not_loaded(run, tmp_path, mode):
    run()
    files(tmp_path, "nbc")[0].chmod(mode)
    counts, _, said = run()
    assert counts == (0, 1)
    assert "others may write it" in said
    assert files(tmp_path, "nbc")[0].stat().st_mode & 0o777 == 0o600
    assert run()[0] == (1, 0)


def test_a_link_is_not_followed(run, tmp_path):
    run()
    (file,) = files(tmp_path, "nbc")
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert run()[0] == (0, 1)
    assert run()[0] == (1, 0)


def test_a_folder_that_others_could_write_is_emptied(run, tmp_path):
    _, folder, _ = run()
    os.chmod(folder, 0o777)
    counts, _, said = run()
    assert counts == (0, 1)
    assert said.endswith("others could write it: closed to them, kernels are compiled anew\n")
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert run()[0::2] == ((1, 0), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_not_used(run):
    _, folder, _ = run()
    os.chown(folder, 12345, -1)
    counts, other, said = run()
    assert counts == (0, 1)
    assert other != folder
    assert "belongs to another user" in said


def test_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "cache").write_text("a file in its place")
    assert run()[0] == (0, 1)


def test_no_home(run):
    assert run(EIE_CACHE_DIR=None, XDG_CACHE_HOME=None, HOME="/proc/nowhere")[0] == (0, 1)


def test_two_processes_that_compile_for_different_types_keep_both(tmp_path):
    """numba numbers its files, so that two first runs would each write the first."""
    made = [CheckedFile(cache_path=str(tmp_path), filename_base="f", source_stamp=b"s") for _ in range(2)]
    # Both have seen an empty index.
    for file, key in zip(made, ["int64", "float64"], strict=True):
        file.save(key, f"code for {key}")
    assert {key: made[0].load(key) for key in ("int64", "float64")} == {
        "int64": "code for int64",
        "float64": "code for float64",
    }


def test_two_first_runs_at_once(process):
    words, environment = process
    both = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate()[1] for each in both] == ["", ""]
    assert [each.returncode for each in both] == [0, 0]


def older(root, many):
    """Folders of other versions, the first used last, all of them long ago."""
    made = []
    for i in range(many):
        made.append(root / f"kernels-{i:016x}")
        (made[-1] / "sub").mkdir(parents=True, exist_ok=True)
        (made[-1] / "sub" / "a.nbc").write_bytes(bytes(1000))
        (made[-1] / "in-use").write_bytes(b"")
        os.utime(made[-1] / "in-use", (1e9 - i, 1e9 - i))
    return made


def test_older_folders_are_cleared_away(tmp_path):
    made = older(tmp_path, 6)
    strangers = [tmp_path / "kernels-mine", tmp_path / "other"]
    for stranger in strangers:
        stranger.mkdir()
    (tmp_path / f"kernels-{'f' * 16}").symlink_to(strangers[1])
    assert clear_away(tmp_path / "kernels-now", kept=3) == made[3:]
    assert [folder.exists() for folder in made] == [True] * 3 + [False] * 3
    assert all(stranger.exists() for stranger in strangers)


def test_what_was_used_an_hour_ago_stays(tmp_path):
    made = older(tmp_path, 3)
    os.utime(made[2] / "in-use")
    # Made before folders were held: by its own time, which is now.
    (made[1] / "in-use").unlink()
    assert clear_away(tmp_path / "kernels-now", kept=0) == made[:1]


def test_a_folder_in_use_stays(tmp_path, root):
    made = older(tmp_path, 2)
    script = f"from pathlib import Path; from eie.kernels.folders import hold; hold(Path({str(made[1])!r})); input()"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE) as user:
        # It says so by the time of the file.
        while os.stat(made[1] / "in-use").st_mtime < 1.1e9:
            assert user.poll() is None
        os.utime(made[1] / "in-use", (1e9, 1e9))
        assert clear_away(tmp_path / "kernels-now", kept=0) == made[:1]
        user.kill()
    assert clear_away(tmp_path / "kernels-now", kept=0) == made[1:]


def test_a_folder_that_vanishes_is_held_anew(tmp_path):
    hold(tmp_path / "kernels-now")
    assert (tmp_path / "kernels-now" / "in-use").exists()


def test_a_new_state_of_the_sources_clears_old_ones_away(run, tmp_path):
    (tmp_path / "cache" / "eie").mkdir(parents=True)
    made = older(tmp_path / "cache" / "eie", KEPT + 2)
    run()
    assert [folder.exists() for folder in made] == [True] * KEPT + [False] * 2
    # Not at every start: the folder is there now.
    more = older(tmp_path / "cache" / "eie", KEPT + 2)
    run()
    assert all(folder.exists() for folder in more)


def test_the_doctor_says_what_they_take(tmp_path):
    made = older(tmp_path, 3)
    assert _sizes(made[0]) == "0.0 MiB; 2 of other versions 0.0 MiB"
    (made[0] / "big").write_bytes(bytes(3 << 20))
    assert _sizes(made[1]) == "0.0 MiB; 2 of other versions 3.0 MiB"
