"""Every report on weights that were drawn says so, in the same words, on every verb."""

import json
from dataclasses import replace

import numpy as np
import pytest

import eie
from eie.recording.inputs import Samples
from eie.recording.record import record

NOTE = "synthetic weights (random masks are more even than real pruned layers): "
MODEL = "".join(
    f'[[layer]]\nname = "{name}"\ninputs = {inputs}\noutputs = {outputs}\nweight_density = 0.3\n'
    f"activation_density = 0.5\n"
    for name, inputs, outputs in (("a", 60, 40), ("b", 40, 10))
)
RECIPE = '[[step]]\nkind = "prune"\n[[step.rule]]\nlayers = "*"\ndensity = 0.1\n'


# Every verb that reports on a model; behind the words, the layers that it names.
VERBS = {
    "run": "run m.toml",
    "simulate": "simulate p.safetensors",
    "compile": "compile m.toml -o q.safetensors",
    "inspect": "inspect m.toml",
    "inspect a program": "inspect p.safetensors",
    "compress": "compress m.toml r.toml -o c.safetensors",
    "run what was compressed": "run c.safetensors",
    "sensitivity": "compress chain.safetensors --sensitivity",
    "granularity": "granularity m.toml --no-search --variant fine:0.9,2:4",
    "search": "search chain.safetensors --latency-budget 0.6x --set n_pe=2",
    "compare": "compare m.toml --baseline tensor-core",
}


@pytest.fixture
def cli(cli, tmp_path, monkeypatch):
    """Run ``eie`` in a folder of models, a recipe and a program."""
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "m.toml").write_text(MODEL)
    (tmp_path / "r.toml").write_text(RECIPE)
    drawn = eie.load(tmp_path / "m.toml")
    eie.compile(drawn).save(tmp_path / "p.safetensors")
    # Fed layer by layer from recorded inputs: what searches and scans ask of a network.
    chain = eie.Network(name="chain", layers=drawn.layers, sequential=True)
    x = np.random.default_rng(0).standard_normal((20, 60)).astype(np.float32)
    eie.save(replace(chain, trace=record(chain, Samples.of(x), values=True)), tmp_path / "chain.safetensors")
    return cli


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_verbs(words, cli):
    if "c.safetensors" in words.split()[1]:
        assert cli(*VERBS["compress"].split())[0] == 0
    code, out, err = cli(*words.split())
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if NOTE in line]
    assert line.rstrip(".").endswith(": a, b")


def test_sweeps_name_the_model_and_rows_say_which_layers(cli, tmp_path):
    code, out, _ = cli("sweep", "m.toml", "--vary", "n_pe=2,4", "-o", "sw", "--json", "sw.json")
    assert code == 0
    assert f"{NOTE}m" in out
    rows = json.loads((tmp_path / "sw.json").read_text())["rows"]
    assert all(row["synthetic_weights"] for row in rows)


def test_documents_say_it_too(cli, tmp_path):
    assert cli("compress", "m.toml", "r.toml", "--json", "c.json")[0] == 0
    assert cli(*VERBS["sensitivity"].split(), "--json", "s.json")[0] == 0
    for name in ("c.json", "s.json"):
        assert json.loads((tmp_path / name).read_text())["drawn"] == ["a", "b"]


@pytest.mark.parametrize("words", ["run", "inspect", "compile"])
def test_trained_weights_are_not_called_so(words, cli, tmp_path):
    np.savez(tmp_path / "own.npz", **{"fc.weight": np.eye(8, 6, dtype=np.float32)})
    extra = ["-o", "o.safetensors"] if words == "compile" else []
    code, out, _ = cli(words, "own.npz", *extra)
    assert code == 0
    assert "synthetic weights" not in out
