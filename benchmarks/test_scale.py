"""How much memory large things take, and whether anything grows faster than what it is of.

``make bench`` prints the table that docs/performance.md quotes. Each runs in a child process, whose peak is its own;
times are ratios of processor time, so that a busy machine changes them little. Nothing here is part of CI.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What `eie granularity resnet-50` took in version 0.1.
GRANULARITY_GIB = 2.22

HEAD = """
import json, resource, sys
from time import process_time
import numpy as np, eie
began, steps = process_time(), {}
def step(name):
    global began
    now = process_time()
    steps[name], began = now - began, now
"""
TAIL = """
# KiB to GiB
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"steps": steps, "peak_gib": peak}))
"""

SMALL = """
program = eie.compile(eie.Layer.from_weights("small", np.ones((1, 8))), eie.EIE_64PE)
eie.simulate(program, np.ones(8))
program.save(sys.argv[1])
eie.simulate(eie.Program.load(sys.argv[1]), np.ones(8))
step("all")
"""
WIDE = """
rng = np.random.default_rng(0)
weights = (rng.random((1, 70_000)) < 0.1) * rng.standard_normal((1, 70_000))
program = eie.compile(eie.Layer.from_weights("wide", weights), eie.EIE_64PE.replace(n_pe=4096))
inputs = rng.random(70_000)
first = eie.simulate(program, inputs)
program.save(sys.argv[1])
again = eie.simulate(eie.Program.load(sys.argv[1]), inputs)
assert first.layers[0].cycles == again.layers[0].cycles
step("all")
"""
SAMPLES = """
rng = np.random.default_rng(0)
samples = int(sys.argv[1])
inputs = rng.random((samples, 1, 28, 28), np.float32)
eie.simulate("lenet-5", inputs, threads=1)
step("all")
"""
LAYERS = """
rng = np.random.default_rng(0)
layers = tuple(eie.Layer.from_weights(f"l{i}", (rng.random((8, 8)) < 0.5) * 1.0) for i in range(int(sys.argv[1])))
network = eie.Network(name="deep", layers=layers, sequential=True)
step("made")
eie.save(network, sys.argv[2])
step("save")
network = eie.load(sys.argv[2])
step("load")
program = eie.compile(network)
step("compile")
result = eie.simulate(program, np.ones(8))
step("run")
str(result)
step("print")
result.to_json()
step("JSON")
result.to_html()
step("HTML")
"""
# By `main`, which has Python look for garbage seldom, as a user's run does; it ends in exit().
GRANULARITY = """
from eie.cli import main
sys.argv = ["eie", "granularity", "resnet-50"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def child(script, *words):
    """Return what a script of its own process took: seconds of processor time by step, and its peak in GiB."""
    command = [sys.executable, "-c", HEAD + script + TAIL, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def report(name, text):
    print(f"\n{name:42s} {text}")


def test_many_pes(tmp_path):
    """h: 1 x 70,000 on 4,096 PEs, compiled, run, saved, loaded and run again, in 1 GiB; 5.6 GiB in 0.1."""
    small = child(SMALL, tmp_path / "small.safetensors")
    wide = child(WIDE, tmp_path / "wide.safetensors")
    file = (tmp_path / "wide.safetensors").stat().st_size
    ratio = wide["steps"]["all"] / small["steps"]["all"]
    report(
        "h. 1 x 70,000 on 4,096 PEs",
        f"{wide['peak_gib']:.2f} GiB (target 1), {ratio:.1f} times an 8-column layer's processor time, "
        f"file {file / 2**20:.2f} MiB",
    )
    assert wide["peak_gib"] < 1
    assert file < 16 << 20


def test_many_samples():
    """h: LeNet-5 on 20,000 samples in 1 GiB, the outputs of its last layer kept; 6.5 GiB in 0.1."""
    few, many = (child(SAMPLES, samples) for samples in (2_000, 20_000))
    ratio = many["steps"]["all"] / few["steps"]["all"] / 10
    report(
        "h. lenet-5, 20,000 samples",
        f"{many['peak_gib']:.2f} GiB (target 1; 2,000 samples: {few['peak_gib']:.2f}), a sample takes {ratio:.2f} of "
        "one of 2,000",
    )
    assert many["peak_gib"] < 1
    assert ratio < 2


def test_granularity():
    """h: `eie granularity resnet-50` in at most half of the memory that 0.1 took."""
    peak = child(GRANULARITY)["peak_gib"]
    report("h. eie granularity resnet-50", f"{peak:.2f} GiB ({peak / GRANULARITY_GIB:.2f} of 0.1's; target 0.5)")
    assert peak <= GRANULARITY_GIB / 2


def test_many_layers(tmp_path):
    """h: 10,000 layers take five times 2,000 at every step."""
    few, many = (child(LAYERS, layers, tmp_path / f"{layers}.npz") for layers in (2_000, 10_000))
    ratios = {name: seconds / few["steps"][name] / 5 for name, seconds in many["steps"].items()}
    shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    report("h. 10,000 layers against 2,000, a layer", f"{shown}; {many['peak_gib']:.2f} GiB")
    assert max(ratios.values()) < 2
