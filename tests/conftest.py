"""Fixtures shared by the suite."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
# Not tests: `--doctest-modules` would import them, and torch and cosmic-ray may not be there.
collect_ignore = ["torch_models.py", "freeze.py", "mutants"]

# What a whole suite imports and collects stays to the end: looking through it again and again for garbage took a tenth
# of the processor time of the tests. Nothing is looked for while it is made, and afterwards it is left out.
gc.disable()


def pytest_collection_finish(session):
    gc.collect()
    gc.freeze()
    gc.enable()


# The first example of a test may compile kernels; seconds are never asserted.
settings.register_profile("eie", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("eie")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data that CI has beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    return folder


@pytest.fixture(scope="session")
def fc8(shared):
    """AlexNet fc8: (layer, activations)."""
    from eie import Layer

    file = shared / "data" / "alexnet_fc8.npz"
    if not file.is_file():
        pytest.skip("../shared/data/alexnet_fc8.npz is not here")
    data = np.load(file)
    return Layer.from_codes(
        name="fc8", codes=data["codes"], codebook=data["codebook"], bias_codes=data["bias_codes"]
    ), data["act"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run ``eie`` with words in an empty directory; return (exit code, stdout, stderr)."""
    from eie.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["eie", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run
