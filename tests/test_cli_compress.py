"""``eie compress`` end to end in an empty directory."""

import csv
import io
import json

import numpy as np
import pytest

import eie

RECIPE = """
index_bits = { "*" = 5 }

[[step]]
kind = "prune"
    [[step.rule]]
    layers = "ip1"
    density = 0.06
    [[step.rule]]
    layers = "ip[23]"
    density = 0.08

[[step]]
kind = "share"
    [[step.rule]]
    bits = 4

[[step]]
kind = "permute"
n_pe = 64
outputs = true
"""


@pytest.fixture
def cli(cli, monkeypatch):
    """Run ``eie`` in an empty directory; return (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")
    return cli


def test_a_recipe_from_file_to_file(cli, tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    code, out, err = cli("compress", "lenet-300-100", "small.toml", "-o", "out.safetensors", "--json", "r.json")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[5:8]] == ["prune", "share", "permute"]
    assert [line.split()[0] for line in lines if line.startswith(("ip", "total"))] == ["ip1", "ip2", "ip3", "total"]
    assert sum("  published" in line for line in lines) == 4
    assert "published: LeNet-300-100 in Deep Compression" in lines[-1]
    report = json.loads((tmp_path / "r.json").read_text())
    assert [step["kind"] for step in report["steps"]] == ["prune", "share", "permute"]
    assert report["steps"][0]["kept"] == {"ip1": 14112, "ip2": 2400, "ip3": 80}
    assert report["sizes"][-1]["huffman_bytes"] < report["sizes"][-1]["dense_bytes"] / 40
    assert sorted(report["output_order"]) == list(range(10))
    net = eie.load(tmp_path / "out.safetensors")
    assert [layer.relu for layer in net.layers] == [True, True, False]
    assert net.trace.samples == 256
    code, out, _ = cli("run", "out.safetensors")
    assert code == 0
    assert f"{100 * report['steps'][-1]['accuracy']:.2f} % in float32" in out
    assert "Note: compressed by small." in out


def test_sizes_as_a_network_stands(cli):
    code, out, _ = cli("compress", "lenet-300-100", "--csv", "-")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["layer"] for row in rows] == ["ip1", "ip2", "ip3", "total"]
    columns = (
        "weights,kept_pct,weight_bits_pq,weight_bits_huffman,index_bits_pq,index_bits_huffman,rate_pq_pct,rate_pqh_pct"
    )
    assert list(rows[0])[2:10] == columns.split(",")
    assert rows[0]["published_kept_pct"] == "8.0"


def test_sensitivity(cli, tmp_path):
    words = ("--densities", "0.05,1", "--samples", 32, "--layers", "ip[12]", "--json", "s.json")
    code, out, _ = cli("compress", "lenet-300-100", "--sensitivity", *words)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["layer", "ip1", "ip2"]
    scan = json.loads((tmp_path / "s.json").read_text())
    assert [(point["layer"], point["density"]) for point in scan["points"]] == [
        (name, density) for name in ("ip1", "ip2") for density in (0.05, 1)
    ]
    assert scan["points"][1]["accuracy"] == scan["baseline"]
    assert scan["points"][0]["accuracy_loss"] == scan["baseline"] - scan["points"][0]["accuracy"]


def test_wrong_recipes_list_every_error(cli, tmp_path):
    (tmp_path / "bad.toml").write_text('[[step]]\nkind = "share"\n[[step.rule]]\nbits = 1\nini = "exact"\n')
    code, out, err = cli("compress", "lenet-300-100", "bad.toml", "-o", "out.npz")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "eie: bad.toml.step.0.rule.0.bits=1: must be >= 2",
        "eie: bad.toml.step.0.rule.0.ini='exact': unknown key; did you mean init?",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_recipes_that_train_say_what_is_missing(cli, tmp_path):
    (tmp_path / "train.toml").write_text('[[step]]\nkind = "finetune"\nepochs = 2\n')
    code, _, err = cli("compress", "lenet-300-100", "train.toml")
    assert code == 2
    assert err == "eie: train.step.0.epochs=2: fine-tuning needs a trainer, and none was given; or leave the step out\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "out.npz"), "-o needs a recipe"),
        (("r.toml", "--sensitivity"), "give no recipe"),
        (("--layers", "ip1"), "--layers belongs to --sensitivity"),
        (("--sensitivity", "--densities", "a"), "--densities a: must be numbers"),
        (("--sensitivity", "--criterion", "taylor"), "'taylor' is not one of"),
    ],
)
def test_wrong_usage(cli, words, message):
    code, _, err = cli("compress", "lenet-300-100", *words)
    assert code == 2
    assert message in err


def test_sensitivity_without_labels_goes_by_the_outputs(cli, tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.diag([3.0, 4.0])})
    rows = eie.LayerTrace.from_dense(np.ones((5, 2)))
    eie.Trace(layers={"fc": rows}, source="drawn").save(tmp_path / "t.npz")
    words = ("--sensitivity", "--densities", "0.25,1", "--trace", "t.npz", "--json", "s.json")
    code, out, _ = cli("compress", "m.npz", *words)
    assert code == 0
    assert "relative output error in percent, against the unpruned network" in out
    scan = json.loads((tmp_path / "s.json").read_text())
    assert (scan["measure"], scan["baseline"]) == ("relative_output_error", None)
    # Of outputs 3 and 4 the smaller goes: 3 of 5.
    assert [point["relative_output_error"] for point in scan["points"]] == [pytest.approx(0.6), 0]
    assert {point["accuracy"] for point in scan["points"]} == {None}


def test_sensitivity_needs_inputs(cli, tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.eye(4)})
    code, _, err = cli("compress", "m.npz", "--sensitivity")
    assert code == 1
    assert "eie: m.npz: a scan needs inputs, with values" in err


@pytest.mark.parametrize("file", ["x.npy", "x.npz"])
def test_sensitivity_on_arrays(cli, tmp_path, file):
    """Not only on a trace: what a graph itself reads is in no trace of its layers."""
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.diag([3.0, 4.0])})
    np.save(tmp_path / "x.npy", np.ones((5, 2)))
    np.savez(tmp_path / "x.npz", fc=np.ones((5, 2)))
    words = ("--sensitivity", "--densities", "0.25", "--trace", file, "--json", "s.json")
    assert cli("compress", "m.npz", *words)[0] == 0
    (point,) = json.loads((tmp_path / "s.json").read_text())["points"]
    assert point["relative_output_error"] == pytest.approx(0.6)
