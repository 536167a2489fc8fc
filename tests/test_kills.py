"""Long commands, killed three times each while they work, then to the end; `make kill` does it thirty times."""

import signal
import subprocess
import sys
import time

import pytest
from kills import GRANULARITY, JOURNAL, MODEL, SEARCH, hears_ctrl_c, kill_once, same_after_kills, start
from small_networks import labelled, mlp

import eie
from eie.errors import SweepError
from eie.sweeps.journal import Journal
from eie.sweeps.steps import CommandInterrupted, Steps, keeping

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
@pytest.mark.parametrize("words", [SEARCH, GRANULARITY], ids=lambda words: words[0])
def test_killed_three_times_it_gives_the_same_bytes(tmp_path, words):
    """On a small network: `make kill` has the shipped one, whose steps take longer and are not others."""
    network = labelled(mlp([400, 200, 50, 10]))
    write = lambda folder: eie.save(network, folder / "small.npz")  # noqa: E731
    words = ["small.npz" if word == MODEL else "0.7x" if word == "0.5x" else word for word in words]
    assert same_after_kills(words, tmp_path, kills=3, steps=8, write=write) == 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_say_what_is_kept(tmp_path, how):
    """`kill_once` holds the line that says how to go on, and that there is no traceback."""
    assert kill_once(SEARCH, tmp_path, steps=5, how=how)
    with Journal(tmp_path / JOURNAL) as book:
        # The first looks at the file may have met it empty, and its header.
        assert len(book.entries) >= 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_first_second_is_no_traceback(tmp_path, how):
    """At whatever import it comes: one line of ours, and the exit code of shells."""
    for moment in (0.15, 0.3, 0.5, 0.8):
        process = start(SEARCH, tmp_path)
        time.sleep(moment)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        # Before our first line Python itself is there, or nothing yet: it says what it says.
        if "eie:" in errors:
            assert process.returncode == 128 + how
            assert "Traceback" not in errors
            assert errors.count("eie:") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_a_callback_swallows_still_counts(how):
    code = (
        "import os, eie.cli, eie.cli.app as module\n"
        "def swallowing(standalone_mode):\n"
        f"    try:\n        os.kill(os.getpid(), {how:d})\n"
        "    except KeyboardInterrupt:\n        pass\n"
        "module.app = swallowing\n"
        "eie.cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=hears_ctrl_c
    )
    assert (done.returncode, done.stderr) == (128 + how, "eie: interrupted; nothing half-written was left behind\n")


def test_what_comes_before_the_guard_is_short():
    """Ctrl-C there is a traceback of Python's own: nothing slow may be imported by then."""
    code = "import sys; before = set(sys.modules); import eie.cli; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"typing", "re", "signal", "enum", "click", "numpy"}.isdisjoint(done.stdout.split())


def test_a_second_signal_ends_it_at_once(tmp_path):
    code = (
        "import os, signal, eie.cli.stopping as stopping\n"
        "stopping.by_exception()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n    assert stopping.stopped_by() == signal.SIGTERM\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


# -- steps ------------------------------------------------------------------------------------------------------------


def test_steps_are_taken_once(tmp_path):
    taken = []
    for _ in range(2):
        with keeping(tmp_path / "j.jsonl", {"what": "test"}) as steps:
            square = steps.each("square", lambda x: taken.append(x) or x * 0.1)
            assert [square(1), square(2), steps.under("part").take("square 1", lambda: 7)] == [0.1, 0.2, 7]
    assert taken == [1, 2]


def test_another_command_takes_its_own_steps(tmp_path):
    for number in (1, 2):
        with keeping(tmp_path / "j.jsonl", {"number": number}) as steps:
            assert steps.take("step", lambda number=number: number) == number


def test_other_sources_take_their_own_steps(tmp_path, monkeypatch):
    for sources in ("a", "b"):
        monkeypatch.setattr("eie.sweeps.steps.study_digest", lambda sources=sources: sources)
        with keeping(tmp_path / "j.jsonl") as steps:
            assert steps.take("step", lambda sources=sources: sources) == sources


def test_without_a_journal_nothing_is_kept():
    assert [Steps().take("step", lambda value=value: value) for value in (1, 2)] == [1, 2]


def test_an_interrupt_says_how_to_go_on(tmp_path):
    def stopped():
        with keeping(tmp_path / "j.jsonl") as steps:
            steps.take("step", lambda: 1)
            raise KeyboardInterrupt

    with pytest.raises(CommandInterrupted, match=r"1 steps are kept in .*j.jsonl: the same command goes on"):
        stopped()


def test_two_commands_on_one_journal(tmp_path):
    path = tmp_path / "j.jsonl"
    with keeping(path), pytest.raises(SweepError, match="locked by another"), keeping(path):
        pass
