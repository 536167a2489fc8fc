"""The command line, end to end in an empty directory: words in, streams, files and exit codes out."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from kills import hears_ctrl_c

import eie

EIE = [sys.executable, "-m", "eie"]


@pytest.fixture
def cli(cli, monkeypatch):
    """Run ``eie`` in an empty directory, in this process: to begin a new one takes longer than most commands."""
    monkeypatch.setenv("COLUMNS", "200")
    return cli


@pytest.fixture
def shell(tmp_path, root):
    """Run ``eie`` as a shell does; return (exit code, stdout, stderr)."""

    def run(*words):
        env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
        done = subprocess.run(
            [*EIE, *map(str, words)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "m.npz", **{"fc.weight": rng.standard_normal((40, 30)) * (rng.random((40, 30)) < 0.2)})
    return "m.npz"


def test_run_reports_on_stdout_and_keeps_stderr_for_notes(shell):
    code, out, err = shell("run", "lenet-300-100", "--samples", 16)
    assert code == 0
    assert err == "" or err.startswith("compiling kernels, once")
    lines = out.splitlines()
    assert lines[0].startswith("lenet-300-100 on EIE_64PE: 64 PEs, 800 MHz")
    assert [line.split()[0] for line in lines[2:7]] == ["layer", "ip1", "ip2", "ip3", "total"]
    assert "\x1b" not in out
    assert "Accuracy over 16 samples" in out


def test_run_writes_what_is_asked_for(cli, tmp_path, model):
    code, out, err = cli("run", model, "--json", "r.json", "--csv", "r.csv", "--plot", "figures", "--set", "n_pe=8")
    assert code == 0
    assert json.loads((tmp_path / "r.json").read_text())["spec"]["n_pe"] == 8
    assert (tmp_path / "r.csv").read_text().startswith("layer,outputs,inputs")
    assert len(list((tmp_path / "figures").iterdir())) == 12
    assert "wrote 12 figures to figures" in err
    assert "synthetic inputs" in out


def test_files_say_which_command_made_them(cli, tmp_path, model):
    words = ("run", model, "--json", "r.json", "--html", "a page.html", "--set", "n_pe=4")
    assert cli(*words)[0] == 0
    document = eie.read_answer(tmp_path / "r.json")
    assert document.command == "eie run m.npz --json r.json --html 'a page.html' --set n_pe=4"
    assert (tmp_path / "a page.html").read_text().startswith("<!DOCTYPE html>")
    code, out, _ = cli("compare", "r.json", "--baseline", "dense", "--html", "-")
    assert code == 0
    assert out.startswith("<!DOCTYPE html>")
    assert "<svg" in out
    code, out, err = cli("run", model, "--json", "-", "--html", "-")
    assert (code, out) == (2, "")
    assert "only one of --json, --csv and --html can go to standard output" in err
    (tmp_path / "r.json").write_text((tmp_path / "r.json").read_text().replace('"n_pe": 4', '"n_pe": 8'))
    code, out, _ = cli("compare", "r.json", "--baseline", "dense")
    assert code == 0
    assert "r.json: edited or damaged since it was written" in out


def test_data_on_stdout_alone(shell, model):
    code, out, _ = shell("run", model, "--json", "-")
    assert code == 0
    assert json.loads(out)["network"] == "m"


def test_compile_inspect_simulate(cli, tmp_path, model):
    assert cli("compile", model, "-o", "p.safetensors", "--set", "n_pe=4")[0] == 0
    code, out, _ = cli("inspect", "p.safetensors")
    assert code == 0
    assert "m for EIE_64PE: 4 PEs, content" in out
    np.save(tmp_path / "x.npy", np.ones((3, 30)))
    code, out, _ = cli(
        "simulate", "p.safetensors", "--trace", "x.npy", "--set", "act_queue_depth=2", "--engine", "events"
    )
    assert code == 0
    assert "queue 2" in out
    assert "3 samples" in out
    assert "Inputs: x.npy" in out
    assert cli("inspect", model)[0] == 0


def test_engines_print_the_same(cli, model):
    fast, events = (cli("run", model, "--engine", engine, "--csv", "-")[1] for engine in ("fast", "events"))
    assert fast == events


def test_a_line_a_cycle(cli, model):
    code, out, err = cli("run", model, "--engine", "events", "--cycles", "--json", "-", "--set", "n_pe=2")
    assert code == 0
    assert (
        len([line for line in err.splitlines() if line.startswith("cycle ")]) == json.loads(out)["layers"][0]["cycles"]
    )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "Usage"),
        (["rum"], 2, "No such command 'rum'"),
        (["run"], 2, "Missing argument 'MODEL'"),
        (["run", "m.npz", "--engine", "slow"], 2, "'slow' is not one of"),
        (["run", "m.npz", "--set", "n_pes=3"], 2, "eie: spec.n_pes=3: unknown key; did you mean n_pe?"),
        (
            ["run", "m.npz", "--set", "n_pe=0", "--set", "act_queue_depth=1"],
            2,
            "eie: spec.act_queue_depth=1: must be >= 2",
        ),
        (["run", "m.npz", "--spec", "nope.toml"], 2, "eie: nope.toml: cannot be read: No such file or directory"),
        (["run", "m.npz", "--cycles"], 2, "eie: --cycles needs --engine events"),
        (["run", "m.npz", "--cycles", "abc"], 2, "--cycles abc: must be FIRST:STOP, as 1000:3000, or alone"),
        (["run", "m.npz", "--cycles", "m2.npz", "x"], 2, "unexpected extra arguments (m2.npz x)"),
        (["rtl", "m.npz", "-o", "rtl", "--json", "r.json"], 2, "write one answer: that of --check or of --resources"),
        (["--cycles", "abc"], 2, "--cycles goes behind its command: run, simulate"),
        (["--cyles", "abc"], 2, "No such option '--cyles'"),
        (["run", "none.npz"], 1, "eie: none.npz: cannot be read: No such file or directory"),
        (["run", "m.npz", "--trace", "none.npz"], 1, "eie: none.npz: cannot be read"),
        (
            ["run", "m.npz", "--trace", "m.npz"],
            1,
            "eie: m.npz: not a trace, and fc.weight is no input: the network takes fc",
        ),
        (["run", "m.npz", "--trace", "x.txt"], 1, "activations are a trace (.npz) or an array (.npy)"),
        (["run", "m.npz", "--json", "no/such/dir.json"], 1, "eie: no/such/dir.json: cannot be written"),
        (["run", "lenet-300"], 1, "did you mean lenet-300-100?"),
        (["compile", "m.npz", "-o", "p.bin"], 2, "a program file ends in .safetensors"),
        (["run", "m.npz", "--json", "m.npz"], 2, "eie: m.npz: is read by this command: write to another file"),
        (["run", "m.npz", "--json", "r", "--csv", "./r"], 2, "eie: ./r: is written twice by this command"),
        (["compare", "m.npz", "--baseline", "dence"], 2, "eie: machine dence: no such file, and no machine"),
        (["run", "m.npz", "--memory", "all"], 2, "eie: --memory=all: must be a size"),
        (["simulate", "m.npz"], 1, "eie: m.npz: not a usable .safetensors file"),
    ],
)
def test_wrong_words(cli, tmp_path, model, words, code, text):
    before = set(tmp_path.iterdir())
    left, out, err = cli(*words)
    assert left == code
    assert text in err or (not words and text in out)
    assert set(tmp_path.iterdir()) == before


def test_each_expected_failure_is_one_line_and_a_code(shell):
    code, out, err = shell("run", "none.npz")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


def test_help_and_version(cli):
    assert "eie run lenet-300-100" in cli("--help")[1]
    assert cli("--version")[1].strip() == f"eie, version {eie.__version__}"
    for command in ("run", "compile", "simulate", "inspect", "warmup"):
        code, out, _ = cli(command, "--help")
        assert code == 0
        assert out.startswith("Usage: ")


def test_a_closed_pipe_is_no_failure_of_ours(root, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run(
        f"{sys.executable} -m eie run lenet-300-100 --json - | head -c 10", shell=True, cwd=tmp_path, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout.startswith("{")
    assert run.stderr == ""


def test_a_full_disk_is_said_in_one_line(root, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    env = {**os.environ, "PYTHONPATH": str(root)}
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*EIE, "run", "lenet-300-100"],
            cwd=tmp_path,
            env=env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "eie: standard output: No space left on device"
    assert "Traceback" not in run.stderr


def test_interrupted_runs_say_so_and_leave_nothing(root, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [*EIE, "run", "eie-benchmark", "--json", "r.json", "--engine", "events"], cwd=tmp_path, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c,
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "eie: interrupted; nothing half-written was left behind"
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_importing_is_light(root):
    """``import eie`` and ``eie --help`` must not load the heavy packages."""
    heavy = "numba matplotlib pandas onnx simpy pydantic numpy torch"
    code = f"import sys, eie, eie.cli.app; print([m for m in '{heavy}'.split() if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_every_public_name_is_there():
    assert all(getattr(eie, name) is not None for name in eie.__all__)
    assert set(dir(eie)) == set(eie.__all__)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = eie.simulat
