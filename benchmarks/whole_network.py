"""Layers measured one by one, added up, beside the whole model in one session of onnxruntime, and beside CSR.

    python benchmarks/whole_network.py MODEL.onnx [--size 320]

One thread, batch 1, weights as they are, all three in turns. Printed are the median, the shortest run and the spread of
each, and two ratios with their 99 % intervals: the sum of `measured:dense` over the session, which also runs what lies
between the layers, and `measured:dense` over `measured:csr`, which is above 1 where CSR wins.
"""

import argparse
import time

import numpy as np
import onnxruntime as ort

import eie
from eie.machines import measured, noise
from eie.machines.workload import Workload

TURNS = 13


def session_call(path, image):
    """Return a run of the whole model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: image}
    return [(lambda: session.run(None, feeds), 1)]


def layer_calls(workload, storage):
    """Return a run of each layer, and how often a sample needs it: what `measured` times."""
    rng, task, drawn = np.random.default_rng(0), measured.Task(workload, storage), {}
    return [measured._product(layer, task, rng, drawn=drawn) for layer in workload.layers]


def taken_ms(calls):
    """Milliseconds of a sample."""
    total = 0.0
    for call, times in calls:
        start = time.perf_counter()
        call()
        total += times * (time.perf_counter() - start)
    return total * 1e3


def main(path, size):
    """Time the three in turns and print."""
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    network = eie.load(path, input_shape=(3, size, size))
    workload = Workload.of_network(network, eie.record(path, eie.Samples.of(image), input_shape=(3, size, size)))
    ways = {"session": session_call(path, image)}
    ways |= {storage: layer_calls(workload, storage) for storage in ("dense", "csr")}
    for calls in ways.values():
        taken_ms(calls)
    samples = {name: [] for name in ways}
    for turn in range(TURNS):
        for name in list(ways) if turn % 2 else reversed(list(ways)):
            samples[name].append(taken_ms(ways[name]))
    weights = sum(layer.weights for layer in workload.layers)
    print(f"{network.name}, {len(network.layers)} layers, {weights / 1e6:.1f} M weights, {size} x {size}")
    print(f"{measured.cpu_name()}, onnxruntime {ort.__version__}, one thread")
    for name, runs in samples.items():
        print(f"{name}: {noise.middle(runs):.1f} ms, least {min(runs):.1f}, spread {noise.spread(runs):.0%}")
    for above, below in (("dense", "session"), ("dense", "csr")):
        each = noise.ratios(samples[above], samples[below])
        print(f"{above} over {below}: {noise.middle(each):.2f} ({noise.interval(each)})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--size", type=int, default=320)
    asked = parser.parse_args()
    main(asked.path, asked.size)
