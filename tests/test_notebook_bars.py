"""Bars and figures in a notebook: shown while something takes long, gone afterwards, absent elsewhere."""

import sys
import types

import numpy as np
import pytest

import eie
from eie.show.notebook import NotebookBar, bar_html, in_notebook


class Kernel(types.ModuleType):
    """What of IPython a kernel has; remembers what was displayed."""

    def __init__(self):
        super().__init__("IPython")
        self.shown, self.kernel = [], object()

    def get_ipython(self):
        return self

    def display(self, data, **_):
        self.shown.append(data)
        return self

    def update(self, data, **_):
        self.shown.append(data)


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setitem(sys.modules, "IPython.display", made)
    return made


def test_a_bar_begins_after_a_second_and_leaves_nothing(kernel):
    now = iter([0, 0.5, 1.5, 1.6, 2.0])
    with NotebookBar(clock=lambda: next(now)) as bar:
        bar.products("a", 1, 4)
        assert kernel.shown == []
        bar.products("a", 1, 4)
        bar.products("a", 1, 4)
        bar.products("b<", 2, 4)
    assert [shown.get("text/html") for shown in kernel.shown] == [
        '<progress value="2" max="4"></progress> a 2/4',
        '<progress value="2" max="4"></progress> b&lt; 2/4',
        None,
    ]
    assert kernel.shown[-1] == {"text/plain": ""}


def test_where_nobody_knows_how_many_there_are_no_numbers():
    assert bar_html("drawing", None, None) == "<progress></progress> drawing"


def test_verbs_have_a_bar_in_a_notebook_only(kernel, monkeypatch):
    monkeypatch.setattr("eie.show.notebook.PATIENCE_S", -1)
    monkeypatch.setattr("eie.show.notebook.BETWEEN_S", -1)
    layer = eie.Layer.from_weights("fc", np.eye(8))
    assert in_notebook()
    eie.simulate(layer, np.ones(8))
    assert "fc 1/1" in kernel.shown[0]["text/html"]
    del kernel.shown[:]
    # Whoever has a progress of his own is asked, and nobody else.
    eie.simulate(layer, np.ones(8), progress=lambda *_: None)
    assert kernel.shown == []
    eie.sweep(layer, {"n_pe": (1, 2)})
    assert all("points" in shown.get("text/html", "points") for shown in kernel.shown)
    assert len(kernel.shown) >= 2
    monkeypatch.delitem(sys.modules, "IPython")
    del kernel.shown[:]
    assert not in_notebook()
    eie.simulate(layer, np.ones(8))
    assert kernel.shown == []


def test_figures_are_pyplots_in_a_notebook_only(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr("eie.plots.drawing.in_notebook", lambda: True)

    layer = eie.simulate(eie.Layer.from_weights("fc", np.eye(8)), np.ones(8)).layers[0]
    axes = layer.plot(only="pe-cycles")
    assert pyplot.gcf() is axes.figure
    pyplot.close("all")
    monkeypatch.setattr("eie.plots.drawing.in_notebook", lambda: False)
    layer.plot()
    assert pyplot.get_fignums() == []
