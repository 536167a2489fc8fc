"""Words where a file should have a number, given to the command that reads it: one line that names the file."""

import csv
import io
import json

import numpy as np
import pytest
from fuzz_files import CFG, REPORT, SMALL, network

import eie

MANY = "9" * 5000
BEYOND = ("NaN", "Infinity", "1e400", "1" + "0" * 400, MANY)


@pytest.fixture(scope="module")
def result():
    return eie.simulate(network(), np.ones((3, 8), np.float32), spec=SMALL)


@pytest.fixture
def refused(cli, tmp_path, result):
    """Write a file, name it to ``eie compare`` as a machine and, a result, as what is compared; return what is said."""

    def run(name, text):
        (tmp_path / name).write_text(text)
        result.to_json(tmp_path / "r.json")
        machine = f"systolic:{name}" if name.endswith(".cfg") else name
        calls = [("compare", "r.json", "--baseline", machine)]
        if name.endswith(".json"):
            calls += [("compare", name, "--baseline", "dense"), ("diff", name, "r.json")]
        said = set()
        for words in calls:
            code, out, err = cli(*words)
            assert (code, out) == (1, "")
            assert err.startswith(f"eie: {name}: ")
            assert len(err.splitlines()) == 1
            assert len(err) < 300
            said.add(err)
        return said.pop()

    return run


@pytest.mark.parametrize("word", ["-1", "null", *BEYOND])
@pytest.mark.parametrize("key", ["clock_mhz", "cycles", "outputs"])
def test_a_result_in_json(refused, result, key, word):
    document = json.loads(result.to_json())
    (document["spec"] if key == "clock_mhz" else document["layers"][0])[key] = "@"
    said = refused("it.json", json.dumps(document).replace('"@"', word))
    assert "set_int_max" not in said


def test_a_result_without_notes(refused, result):
    document = json.loads(result.to_json())
    assert "notes: Input should be a valid list" in refused("it.json", json.dumps({**document, "notes": None}))


@pytest.mark.parametrize("word", ["-1", "", "inf", *BEYOND])
@pytest.mark.parametrize("key", ["cycles", "outputs"])
def test_a_result_in_csv(refused, result, key, word):
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    rows[0][key] = word
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert "ValueError" not in refused("it.csv", text.getvalue())


@pytest.mark.parametrize("word", ["-1", "inf", *BEYOND])
def test_a_report_of_scale_sim(refused, word):
    assert "'Total Cycles'" in refused("COMPUTE_REPORT.csv", REPORT.replace("0,100,", f"0,{word},"))


@pytest.mark.parametrize("word", ["%(foo)s", "-1", *BEYOND])
def test_a_configuration_of_scale_sim(refused, word):
    said = refused("it.cfg", CFG.replace("ArrayHeight: 32", f"ArrayHeight: {word}"))
    assert f"ArrayHeight = '{word[:40]}': must be a whole number" in said


def test_a_name_that_looks_like_an_interpolation_is_a_name(cli, tmp_path, result):
    (tmp_path / "it.cfg").write_text(CFG.replace("run_name = x", "run_name = %(foo)s"))
    result.to_json(tmp_path / "r.json")
    assert cli("compare", "r.json", "--baseline", "systolic:it.cfg")[0] == 0


@pytest.mark.parametrize("text", [f"name = 'm'\n[[layer]]\ninputs = {MANY}\n", f'preset = "EIE_64PE"\nn_pe = {MANY}\n'])
def test_a_number_of_5000_digits_in_toml(cli, tmp_path, text):
    (tmp_path / "it.toml").write_text(text)
    for words in (("run", "it.toml"), ("run", "lenet-300-100", "--spec", "it.toml")):
        code, out, err = cli(*words)
        assert (code in (1, 2), out) == (True, "")
        assert err == "eie: it.toml: not valid TOML: a number of 5000 digits: must fit 64 bits\n"
