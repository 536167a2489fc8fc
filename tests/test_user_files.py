"""What a file's damage is called on the command line: one line that blames the file, whatever stands in it."""

import json
from contextlib import suppress

import numpy as np
import pytest

import eie
from eie.errors import EieError, ModelError
from eie.spec import load_spec


@pytest.fixture
def document(tmp_path):
    layer = eie.Layer.from_weights("fc", np.eye(4))
    return json.loads(eie.simulate(layer, spec=eie.EIE_64PE.replace(n_pe=2)).to_json())


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [(("beside", 0), "cycles", -1), (("memory", "memories", 0), "bus_cycles", -1), (("layers", 0), "outputs", -1)],
)
def test_amounts_below_zero_at_any_depth_of_a_result(document, tmp_path, place, key, value):
    inner = document
    for step in place:
        inner = inner[step]
    inner[key] = value
    file = tmp_path / "r.json"
    file.write_text(json.dumps(document))
    with pytest.raises(EieError, match=r"r.json: damaged result: .*(cycles=-1: must be 0|outputs)"):
        eie.read_answer(file)


def test_digits_in_toml_are_told_without_a_remedy_of_python_s(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(f"n_pe = {'9' * 5000}\n")
    with pytest.raises(EieError, match=r"not valid TOML: a number of 5000 digits: must fit 64 bits$"):
        load_spec(file)


def test_a_line_end_in_a_name_makes_no_second_line():
    with pytest.raises(ModelError) as caught:
        eie.load("a\nb.npz")
    assert str(caught.value) == "a\\nb.npz: cannot be read: No such file or directory"


def test_every_command_takes_a_memory_budget(cli):
    from eie.cli.app import app

    def commands(group):
        for command in getattr(group, "commands", {}).values():
            yield command
            yield from commands(command)

    for command in (app, *commands(app)):
        assert sum("--memory" in option.opts for option in command.params) == 1, command.name
    with suppress(SystemExit):
        assert cli("trace", "record", "lenet-5", "x.npy", "-o", "t.npz", "--memory", "nonsense")[0] in (1, 2)
