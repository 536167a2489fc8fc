"""Commands that are killed while they work and started again, until they end: the same bytes as in one go.

Comes in: a command's words and a folder with what it reads. Goes out: every file it wrote. Read by `test_kills` and
`test_kill_training`, which kill three times, and by ``make kill``, thirty.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
JOURNAL = "journal.jsonl"
# SIGKILL most often: it is the one that nothing can be done about.
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

MODEL = "lenet-300-100-dense"
SEARCH = ["search", MODEL, "--latency-budget", "0.5x", "--samples", "2", "-o", "found.safetensors"]
GRANULARITY = [
    *("granularity", MODEL, "--variant", "fine:0.5,fine:0.9,2:4,channel:0.5,block4x4:0.8"),
    *("--machine", "dense", "--machine", "systolic:32x32:ws", "--samples", "4"),
]
SWEEP = ["sweep", "lenet-300-100", "--vary", "n_pe=1:48", "--vary", "act_queue_depth=2,8", "--threads", "1", "-o", "."]
COMPRESS = ["compress", "model.npz", "recipe.toml", "--data", ".", "-o", "small.safetensors"]
RECIPE = """
training = {{ batch = 20, learning_rate = 0.02, centroid_rate = 0.01, dropout = 0.1, weight_decay = 0.01 }}
step = [
    {{ kind = "finetune", epochs = {0} }},
    {{ kind = "prune", schedule = "cubic", rounds = 2, epochs = {0}, rule = [{{ density = 0.625 }}] }},
    {{ kind = "share", epochs = {0}, rule = [{{ bits = 3 }}] }},
]
"""


def write_training(folder, epochs):
    """Write a network, a recipe and IDX files: the class of a 2 x 2 image is whether its first pixel is brighter."""
    rng = np.random.default_rng(0)
    for stem, count in (("train", 1000), ("t10k", 100)):
        images = rng.integers(0, 256, (count, 2, 2), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", (images[:, 0, 0] > images[:, 1, 1]))):
            head = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"{stem}-{kind}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    weights = {"a.weight": rng.normal(size=(8, 4)), "a.bias": np.zeros(8), "b.weight": rng.normal(size=(2, 8))}
    np.savez(folder / "model.npz", **weights)
    (folder / "recipe.toml").write_text(RECIPE.format(epochs))


def hears_ctrl_c():
    """A shell that runs tests in the background has its children ignore SIGINT, and theirs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(words, folder):
    """Start a command in a folder."""
    # Sweeps have a folder for all they write, the others are told.
    more = [] if words[0] == "sweep" else ["--journal", JOURNAL, "--json", "out.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "eie", *words, *more],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    )


def kept(folder):
    """What the journal and the states of training beside it look like; another look after every step."""
    training = folder / f"{JOURNAL}.training"
    files = [folder / JOURNAL, *(sorted(training.glob("*.safetensors")) if training.is_dir() else [])]
    seen = []
    for file in files:
        try:
            about = file.stat()
        # Replaced as a whole just now.
        except FileNotFoundError:
            continue
        seen.append((file.name, about.st_size, about.st_mtime_ns if file.name != JOURNAL else 0))
    return seen


def kill_once(words, folder, *, steps, how):
    """Start a command, send ``how`` after so many steps of its own; return whether it was still there."""
    process = start(words, folder)
    before, changes = kept(folder), 0
    try:
        while process.poll() is None:
            now = kept(folder)
            if now != before:
                before, changes = now, changes + 1
            if changes >= steps:
                process.send_signal(how)
                break
            time.sleep(0.002)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "Traceback" not in errors, errors
    if process.returncode in (130, 143):
        # Once the journal is closed, while files are written, there is nothing to be said but that none is half.
        assert "the same command goes on from there" in errors or "nothing half-written" in errors, errors
    return process.returncode != 0


def outputs(folder):
    """Every file a command wrote but for the journal, whose lines stand in the order of its runs."""
    return {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != JOURNAL and not file.name.startswith(".")
    }


def same_after_kills(words, folder, *, kills, steps=3, write=lambda _: None):
    """Run a command in one go and with kills; both give the same bytes. Returns how many kills met it at work."""
    draw = random.Random(0)
    whole, broken = folder / "whole", folder / "broken"
    for place in (whole, broken):
        place.mkdir()
        write(place)
    first = start(words, whole)
    _, errors = first.communicate()
    assert first.returncode == 0, errors
    shutil.rmtree(whole / f"{JOURNAL}.training", ignore_errors=True)
    met = 0
    for _ in range(kills):
        if not kill_once(words, broken, steps=draw.randint(1, steps), how=draw.choice(SIGNALS)):
            # It came to its end before: nothing is left to kill.
            break
        met += 1
    last = start(words, broken)
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    shutil.rmtree(broken / f"{JOURNAL}.training", ignore_errors=True)
    assert outputs(broken) == outputs(whole)
    return met
