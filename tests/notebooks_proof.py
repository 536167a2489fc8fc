"""The lessons run, and what is stored in them is what they print today (``make notebooks``, and in ``make check``)."""

import difflib
import os

import jupytext
import nbformat
import pytest
from run_notebooks import FOLDER, executed, texts

TWINS = sorted(FOLDER.glob("*.py"))
RENEW = "python tests/run_notebooks.py renews it; look at the diff"


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.stem)
def test_notebook_and_twin_are_one(twin):
    """The pair is edited in either place and must not drift apart."""
    stored = nbformat.read(twin.with_suffix(".ipynb"), as_version=4)
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(twin).cells]
    assert [(cell.cell_type, cell.source) for cell in stored.cells] == wanted


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.stem)
def test_stored_outputs_are_todays(twin, monkeypatch):
    # Public data beside a checkout would add curves that other checkouts have not.
    monkeypatch.delenv("EIE_FC8", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(FOLDER.parent), os.environ.get("PYTHONPATH", ""))))
    stored = texts(nbformat.read(twin.with_suffix(".ipynb"), as_version=4))
    for (source, before), (_, now) in zip(stored, texts(executed(twin)), strict=True):
        changed = difflib.unified_diff(before.splitlines(), now.splitlines(), "stored", "today", lineterm="", n=0)
        assert before == now, "\n".join((RENEW, source, *changed))
