"""Manners of the command line: help that helps, bars that say what they know, what is shipped can be had."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from contextlib import suppress
from importlib.util import find_spec

import pytest
from kills import hears_ctrl_c
from rich.console import Console
from rich.progress import Task

import eie
from eie.cli import doctor
from eie.cli.app import app
from eie.cli.options import Share
from eie.cli.progress import Progress
from eie.cli.sweep import PointProgress
from eie.errors import EieError
from eie.formats.shares import share_of
from eie.importers.shipped import catalogue, shipped_models
from eie.studies.granularity.variants import Variant
from eie.studies.search.budget import Budget


def every_command(group=app, words=()):
    """Words and command of all that can be called, groups too."""
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from every_command(command, (*words, name))


COMMANDS = {" ".join(words): command for words, command in every_command()}


def help_of(words, command, width=80):
    context = command.context_class(
        command, info_name=f"eie {words}".strip(), terminal_width=width, max_content_width=width
    )
    return command.get_help(context)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_has_an_example_within_80_columns(words):
    text = help_of(words, COMMANDS[words])
    assert all(len(line) <= 80 for line in text.splitlines())
    wanted = f"eie {words}".strip()
    examples = [line.strip() for line in text.splitlines() if line.startswith(" ")]
    assert any(line.startswith(f"{wanted} ") or line == wanted for line in examples)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("words", COMMANDS)
def test_no_word_of_a_help_is_broken(words, width):
    """What can be typed as it stands, a machine or a list of variants, is on one line."""
    text = set(help_of(words, COMMANDS[words], width).split())
    for option in COMMANDS[words].params:
        assert set((getattr(option, "help", None) or "").split()) <= text | {"[default:", "[required]"}


@pytest.mark.parametrize("words", [words for words, command in COMMANDS.items() if hasattr(command, "commands")])
def test_summaries_are_whole(words):
    text = help_of(words, COMMANDS[words])
    assert "..." not in text.partition("Commands:")[2]
    flat = " ".join(text.split())
    for command in COMMANDS[words].commands.values():
        assert command.get_short_help_str(1000) in flat


def test_outputs_are_spelt_alike_everywhere():
    options = {}
    for command in COMMANDS.values():
        for option in command.params:
            for name in option.opts:
                if name in ("--json", "--csv", "--html", "--plot"):
                    options.setdefault(name, set()).add((option.help, option.metavar, str(option.default)))
    assert {name: len(said) for name, said in options.items()} == {"--json": 1, "--csv": 1, "--html": 1, "--plot": 1}


def test_a_sweep_plots_where_it_is_told_and_into_its_folder_where_not(cli, tmp_path):
    words = ("sweep", "lenet-300-100", "--samples", 1, "--vary", "n_pe=4,8", "-o", "out")
    assert cli(*words, "--plot", "figures")[0] == 0
    assert list((tmp_path / "figures").glob("*.png"))
    assert not (tmp_path / "out" / "figures").exists()
    assert cli(*words, "--plot")[0] == 0
    assert list((tmp_path / "out" / "figures").glob("*.png"))


@pytest.mark.parametrize(("text", "share"), [("0.5", 0.5), ("50%", 0.5), ("0.5x", 0.5), (" 12.5 %", 0.125)])
def test_percent_is_accepted_wherever_a_share_is(text, share):
    assert share_of(text) == share
    assert Share(0, 1).convert(text, None, None) == share
    if text.endswith(("x", "%")):
        assert Budget.parse("latency_us", text).share == share
    if " " not in text and "x" not in text:
        assert Variant.parse(f"fine:{text}").sparsity == share


@pytest.mark.parametrize("text", ["150%", "100%", "0%", "%", "-5%"])
def test_shares_out_of_bounds_are_refused(text):
    with pytest.raises(EieError, match="budget"):
        Budget.parse("latency_us", text)
    if text != "0%":
        with pytest.raises(EieError, match="variant"):
            Variant.parse(f"fine:{text}")


def test_a_density_in_words(cli):
    code, _, err = cli("run", "lenet-5", "--density", "half")
    assert (code, "as 0.5 or 50%" in err) == (2, True)
    code, _, err = cli("run", "lenet-5", "--density", "150%")
    assert (code, "1.5 is not in the range" in err) == (2, True)


def test_a_bar_shows_counts_only_where_they_are_known():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = Progress(console)
    progress.stage("drawing")
    (task,) = progress._bar.tasks
    assert isinstance(task, Task)
    progress._bar.start()
    progress._bar.stop()
    assert "0/?" not in console.file.getvalue()
    progress.stage("layer", 10)
    progress.advance("layer", 3, 10)
    rendered = Console(file=io.StringIO(), force_terminal=True, width=80)
    rendered.print(progress._bar.get_renderable())
    assert "3/10" in rendered.file.getvalue()


def bars_on_screen(console):
    """What is on the screen of a terminal that got all that a console wrote."""
    return screen(console.file.getvalue()).strip()


def screen(written):
    """Lines on a terminal: characters, carriage returns, lines erased, the cursor moved up."""
    lines, row, column = [""], 0, 0
    for number, word, character in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", written):
        if character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif character == "\r":
            column = 0
        elif character:
            line = lines[row].ljust(column)
            lines[row], column = line[:column] + character + line[column + 1 :], column + 1
        elif word == "A":
            row = max(0, row - int(number or 1))
        elif word == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
    return "\n".join(lines)


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


@pytest.mark.parametrize("fails", [False, True])
def test_no_bar_is_left_behind(fails, monkeypatch):
    monkeypatch.setattr("eie.cli.progress.PATIENCE_S", 0.0)
    for bar in (Progress(terminal()), PointProgress(terminal())):
        with suppress(EieError), bar:
            for _ in range(200):
                # The bar is begun by a thread, as soon as that gets its turn.
                if bar._bar.live.is_started:
                    break
                time.sleep(0.01)
            if isinstance(bar, Progress):
                bar.stage("drawing")
                bar._bar.refresh()
                bar.stage("layer", 10)
                bar.advance("layer", 3, 10)
            else:
                bar._bar.refresh()
                bar.show(3, 10)
            bar._bar.refresh()
            if fails:
                raise EieError("what went wrong")
        console = bar._bar.console
        assert "3/10" in console.file.getvalue()
        assert "/?" not in console.file.getvalue()
        assert bars_on_screen(console) == ""


# A bar comes after a second otherwise, and only what takes longer would show one.
AT_ONCE = "import eie.cli, eie.cli.progress as progress; progress.PATIENCE_S = 0; eie.cli.main()"


def on_a_terminal(words, folder, stop=None):
    """Run a command on a terminal of its own: exit code, all it wrote, what is on the screen in the end."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", AT_ONCE, *words]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=folder, env=environment, preexec_fn=hears_ctrl_c
    ) as process:
        os.close(theirs)
        written = b""
        # Reading a terminal that nobody holds any more is an error and not an end.
        with suppress(OSError):
            while part := os.read(ours, 1 << 16):
                written += part
                if stop is not None and stop in written:
                    process.send_signal(signal.SIGINT)
                    stop = None
    os.close(ours)
    return process.returncode, written.decode(), screen(written.decode())


BARS = re.compile("[━╸╺⠀-⣿]")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("explain lenet-300-100 --samples 8", 0),
        ("sweep lenet-300-100 --samples 8 --vary n_pe=4:64:x2 -o out", 0),
        ("run lenet-300-100 --engine events --samples 4 --json /", 1),
    ],
)
def test_no_bar_is_left_on_a_terminal(words, code, tmp_path):
    ended, written, shown = on_a_terminal(words.split(), tmp_path)
    assert ended == code
    assert BARS.search(written)
    assert "/?" not in written
    assert shown.strip()
    assert not BARS.search(shown)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run lenet-5 --energy none", 2),
        ("run a-file-of-a-name-that-takes-half-a-line.npz --memory 4GiB", 1),
    ],
)
def test_what_is_wrong_is_broken_between_words_on_a_terminal(words, code, tmp_path, cli):
    ended, _, shown = on_a_terminal(words.split(), tmp_path)
    assert ended == code
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines())
    # In a log the same words are on one line.
    _, _, log = cli(*words.split())
    assert log.splitlines()[-1].removeprefix("eie: ") in " ".join(shown.split())


def test_no_bar_is_left_by_an_interrupt(tmp_path):
    words = "sweep lenet-5 --samples 64 --vary n_pe=1:64 -o out"
    code, written, shown = on_a_terminal(words.split(), tmp_path, stop=b"points")
    assert code == 130
    assert "/?" not in written
    assert "interrupted" in shown or "stopped" in shown
    assert not BARS.search(shown)


def test_models_are_what_the_catalogue_says():
    known = {model.name: model for model in catalogue()}
    assert set(known) == set(shipped_models())
    for model in known.values():
        # Drawing the two large ones takes ten seconds each: their shapes say as much.
        if model.accuracy is None:
            layers = tomllib.loads(model.file.read_text())["layer"]
            assert len(layers) == model.layers
            continue
        network = eie.load(model.name)
        assert len(network.layers) == model.layers
        assert sum(layer.matrix.nnz for layer in network.layers) == model.weights
        assert sum(layer.matrix.shape[0] * layer.matrix.shape[1] for layer in network.layers) == model.places
        # Of `tests/test_shipped.py`, which holds the accuracies; here only that the number is that of its samples.
        assert network.trace.samples == model.samples
        assert (model.accuracy * model.samples).is_integer()


def test_models_and_doctor_say_it(cli, monkeypatch):
    code, out, _ = cli("models")
    assert code == 0
    assert all(name in out for name in shipped_models())
    code, out, _ = cli("doctor")
    assert (code, "All is well" in out) == (0, True)
    assert eie.__version__ in out
    monkeypatch.setattr(doctor, "_requirements", lambda: [("numpy", "99", ""), ("no-such-package", "1", "onnx")])
    code, out, _ = cli("doctor")
    assert code == 1
    assert "pip install 'numpy>=99'" in out
    assert "missing: no-such-package" in out


def test_notebooks_are_copied_and_never_over_what_was_changed(cli, tmp_path, root):
    code, _, err = cli("notebooks", "lessons")
    assert (code, "copied" in err) == (0, True)
    first = tmp_path / "lessons" / "notebooks" / "01-one-layer.ipynb"
    assert first.read_bytes() == (root / "notebooks" / first.name).read_bytes()
    assert (tmp_path / "lessons" / "examples" / "recipes" / "lenet-300-100.toml").is_file()
    copied = eie.load(tmp_path / "lessons" / "models" / "lenet-300-100.toml")
    assert copied.trace.samples == eie.load("lenet-300-100").trace.samples
    assert cli("notebooks", "lessons")[0] == 0
    first.write_text("mine")
    code, _, err = cli("notebooks", "lessons")
    assert (code, first.read_text()) == (1, "mine")
    assert "--force" in err
    assert cli("notebooks", "lessons", "--force")[0] == 0
    assert first.read_text() != "mine"
    code, _, err = cli("notebooks", first)
    assert (code, "cannot be made a folder" in err) == (1, True)


def test_the_wheel_holds_what_is_shipped(tmp_path, root):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not here")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind, suffixes in {
        "models": (".toml", ".npz"), "traces": (".npz",), "notebooks": (".ipynb",), "examples": (".py", ".toml"),
    }.items():  # fmt: skip
        wanted = [file for file in (root / kind).rglob("*") if file.suffix in suffixes and ".ipynb_" not in str(file)]
        assert wanted
        missing = {f"eie/shipped/{file.relative_to(root).as_posix()}" for file in wanted} - names
        assert not missing
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


@pytest.mark.parametrize("words", ["run lenet-300-100", "inspect x.npz", "compile x.npz -o y.safetensors"])
def test_a_deleted_working_folder_is_said_to_be_one(words, tmp_path, root):
    """Once deleted, the folder of a shell is still its own; every relative name fails."""
    code = (
        "import os, sys\nos.rmdir(os.getcwd())\nfrom eie.cli import main\n"
        f"sys.argv = ['eie', *{words.split()!r}]\nsys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last == "eie: the folder that this runs in is gone (deleted or moved): change to one that exists"
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_a_deleted_working_folder_in_python(tmp_path, monkeypatch):
    from eie.formats.arguments import taken

    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    layer = eie.Layer.from_weights("fc", [[1.0, 2.0], [0.0, 3.0]])
    # What is in memory needs no folder.
    assert eie.simulate(layer).layers[0].cycles > 0
    with pytest.raises(EieError, match="n.npz: cannot be written: No such file"):
        eie.save(eie.Network.of(layer), "n.npz")
    # As numba does where it compiles.
    with pytest.raises(EieError, match="the folder that this runs in is gone"):
        taken(lambda: os.path.relpath("/"))()
