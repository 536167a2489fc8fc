"""Names, sources and notes: cleaned where they come in, shown as they are, and read back as they were written."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

import eie
from eie.cli.app import app
from eie.cli.inputs import stderr
from eie.formats.csv_table import CsvTable
from eie.importers.stored import save
from eie.show.envelope import enveloped

ESCAPE = "A\x1b[31mRED\x1b[2J\u202e"
SHOWN = r"A\x1b[31mRED\x1b[2J\u202e"
LAYER = eie.Layer.from_weights("a", np.eye(4, dtype=np.float32))
ROWS = np.ones((2, 4))


def network(text):
    trace = eie.Trace(layers={"a": eie.LayerTrace.from_dense(ROWS)}, source=text, preprocessing=text)
    return eie.Network(name=text, layers=(LAYER,), sequential=True, source=text, notes=(text,), trace=trace)


def texts_of(net):
    return [net.name, net.source, *net.notes, net.trace.source, net.trace.preprocessing]


@given(st.text(max_size=20))
@example(ESCAPE)
@example("line\nbreak\u2028")
def test_every_text_of_a_network_is_printable(text):
    assert all(shown.isprintable() for shown in texts_of(network(text)))
    assert eie.EIE_64PE.replace(name=text).name.isprintable()


@pytest.mark.parametrize("text", ["über 網路 [/red]x a:key:b", "=1+1"])
def test_printable_texts_stay_as_they_are(text):
    assert set(texts_of(network(text))) == {text}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_what_a_file_says_is_cleaned(tmp_path, suffix):
    """Written by another program: the words lie in the file as they are, escapes and all."""
    save(network("plain"), tmp_path / f"n.{suffix}")
    arrays = {"eie.network": None}
    if suffix == "npz":
        with np.load(tmp_path / "n.npz") as file:
            arrays = dict(file)
    else:
        from safetensors.numpy import load_file

        arrays = load_file(tmp_path / "n.safetensors")
    for key in ("eie.network", "eie.trace/header"):
        header = json.loads(arrays[key].tobytes().decode().replace("plain", json.dumps(ESCAPE)[1:-1]))
        # As 0.1 wrote them: without a hash.
        header = {name: value for name, value in header.items() if name != "content_hash"} | {"schema": 1}
        arrays[key] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    if suffix == "npz":
        np.savez(tmp_path / "n.npz", **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, tmp_path / "n.safetensors")
    assert set(texts_of(eie.load(tmp_path / f"n.{suffix}"))) == {SHOWN}


@given(st.text(min_size=1, max_size=12))
@example(ESCAPE)
def test_what_is_written_can_be_read_back(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("back")
    net = network(text)
    program = eie.compile(net, eie.EIE_64PE.replace(n_pe=2, name=text))
    program.save(folder / "p.safetensors")
    assert eie.Program.load(folder / "p.safetensors").name == net.name
    for suffix in ("npz", "safetensors", "eie"):
        save(net, folder / f"n.{suffix}")
        assert eie.load(folder / f"n.{suffix}").name == net.name
    net.trace.save(folder / "t.npz")
    assert eie.Trace.load(folder / "t.npz").source == net.trace.source
    eie.simulate(program, ROWS).to_json(folder / "r.json")
    assert eie.read_answer(folder / "r.json").values["network"] == net.name


def test_a_trace_takes_no_unprintable_names():
    with pytest.raises(eie.EieError, match="must be printable text"):
        eie.Trace(layers={"a\x1b": eie.LayerTrace.from_dense(ROWS)})


def test_reports_are_cleaned(tmp_path):
    (tmp_path / "r.csv").write_text("layer,latency_us\na\x1b[2Jb,1\n")
    assert CsvTable.read(tmp_path / "r.csv").texts("layer") == [r"a\x1b[2Jb"]
    content = eie.simulate(eie.compile(LAYER, eie.EIE_64PE.replace(n_pe=2)), ROWS).content()
    content["network"] = ESCAPE
    (tmp_path / "r.json").write_text(enveloped("eie-result", content))
    assert eie.read_answer(tmp_path / "r.json").values["network"] == SHOWN


def test_markup_and_emoji_codes_are_text(capsys):
    stderr().print("[/red]x a:key:b")
    assert capsys.readouterr().err == "[/red]x a:key:b\n"


def write_toml(path, name):
    path.write_text(
        f'name = {json.dumps(name)}\n[[layer]]\nname = "=1+1"\ninputs = 8\noutputs = 8\nweight_density = 0.5\n'
    )
    return str(path)


def test_a_sweep_shows_names_as_they_are(tmp_path):
    name = "[/red]x a:key:b"
    done = CliRunner().invoke(
        app, ["sweep", write_toml(tmp_path / "m.toml", name), "--vary", "n_pe=1,2", "-o", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert name in done.output


@pytest.mark.parametrize(("words", "cell"), [([], "=1+1"), (["--quote-formulas"], "'=1+1")])
def test_formulas_are_quoted_where_asked(tmp_path, words, cell):
    model = write_toml(tmp_path / "m.toml", "m")
    done = CliRunner().invoke(app, ["run", model, "--csv", str(tmp_path / "r.csv"), *words])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert rows[0]["layer"] == cell


def test_numbers_below_zero_are_no_formulas():
    from eie.show.records import records_csv

    records = [{"x": -1.5, "y": "-1.5", "z": " @a", "w": "a=b"}]
    assert records_csv(records, quote_formulas=True) == "x,y,z,w\n-1.5,'-1.5,' @a,a=b\n"
