"""The kernels as plain Python, and where their compiled code is kept."""

import os
import subprocess
import sys

import pytest

PLAIN = [
    "tests/test_codecs.py::test_huffman_bytes_are_frozen",
    "tests/test_cycles.py::TestByHand",
    "tests/test_encode.py::test_the_papers_example",
    "tests/test_encode.py::test_padding_begins_at_sixteen_zeros",
    "tests/test_encode.py::test_the_longest_runs_decode",
    "tests/test_encode.py::test_every_entry_knows_its_row_and_padding_none",
    "tests/test_functional.py::TestChain",
    "tests/test_products.py::test_plain_integers_agree",
    "tests/test_products.py::test_saturations_are_counted_one_by_one",
    "tests/test_streams.py::TestByHand",
    "tests/test_streams.py::TestContract::test_streamed",
    "tests/test_share.py::test_bias_takes_spare_levels_and_is_moved_when_there_are_none",
    "tests/test_share.py::test_every_weight_gets_its_nearest_level",
    "tests/test_trace.py::test_what_is_kept_is_what_numpy_calls_non_zero",
]


def test_small_cases_hold_without_compilation(root):
    """With NUMBA_DISABLE_JIT=1 numpy's scalars wrap and warn where compiled integers would not."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PLAIN]
    done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


CODE = """
import numba, numpy as np
from eie.kernels import jit
assert numba.config.CACHE_DIR == {before!r}, "a caller's own functions must keep their cache"
import eie
eie.compile(eie.Layer.from_weights("a", np.eye(4)))
print(jit.CACHE_FOLDER, jit.kernels_are_cached())
"""


# Asked of numba and not of files: with an empty cache the same question took half a minute of compiling.
NOTHING_LEFT = """
import importlib, pkgutil, sys
from numba.core.registry import CPUDispatcher
import eie.kernels
from eie.cli import main

names = [module.name for module in pkgutil.iter_modules(eie.kernels.__path__, "eie.kernels.")]
modules = list(map(importlib.import_module, names))

def compiled():
    kernels = [value for module in modules for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    return {(kernel.__name__, str(signature)) for kernel in kernels for signature in kernel.signatures}

def run(*words):
    sys.argv = ["eie", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words

run("warmup")
warm = compiled()
assert len(warm) > 20
for words in (
    ["run", "lenet-300-100", "--samples", "40"],
    ["run", "lenet-5", "--samples", "1", "--set", "act_queue_depth=300"],
    # Streamed, a sample alone and two to a load.
    ["run", "lenet-300-100", "--samples", "2", "--set", "ptr_bits=8", "--batch", "1"],
    ["run", "lenet-300-100", "--samples", "2", "--set", "ptr_bits=8", "--batch", "2"],
    ["compress", "lenet-5", "-o", "net.eie"],
    ["inspect", "net.eie"],
):
    run(*words)
    assert compiled() == warm, (words, compiled() - warm)
"""


def test_after_warmup_nothing_is_left_to_compile(root, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(root)}
    words = [sys.executable, "-c", NOTHING_LEFT]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CALLED = """
import sys
import numba, numpy as np
import eie
program = eie.compile(eie.Layer.from_weights("a", np.eye(20)))
for inputs in (np.ones(20), np.ones((30, 20))):
    eie.simulate(program, inputs)
assert numba.config.SLP_VECTORIZE == 0, "a caller's own functions must be compiled as they always were"
"""

LIGHTLY = """
for heavy in ("scipy.linalg", "numba.np.arraymath", "numba.np.random.generator_methods"):
    assert heavy not in sys.modules, heavy
assert numba.config.SLP_VECTORIZE == 0, "a caller's own functions must be compiled as they always were"
assert numba.njit(lambda array: np.sort(array).sum())(np.ones(3)) == 3
"""


def test_kernels_from_the_cache_load_nothing_that_only_a_compilation_needs(root):
    """And a caller who compiles something afterwards still can."""
    # The first leaves the kernels in the user's own folder, if none has yet; the second loads them.
    for code in (CALLED, CALLED + LIGHTLY):
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("before", ["", "elsewhere"])
def test_compiled_code_is_kept_in_a_folder_of_its_own(root, tmp_path, before):
    env = {**os.environ, "EIE_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": before}
    code = [sys.executable, "-c", CODE.format(before=before)]
    done = subprocess.run(code, cwd=root, env=env, capture_output=True, text=True, check=True)
    folder, cached = done.stdout.split()
    assert folder.startswith(str(tmp_path))
    assert cached == "True"


def test_a_home_that_cannot_be_written_still_runs(root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    env = {**os.environ, "EIE_CACHE_DIR": str(tmp_path / "file"), "NUMBA_CACHE_DIR": "", "TMPDIR": str(tmp_path)}
    code = [sys.executable, "-c", CODE.format(before="")]
    done = subprocess.run(code, cwd=root, env=env, capture_output=True, text=True, check=True)
    assert done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
