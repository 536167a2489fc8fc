"""How good the advice of ``eie explain`` is: its best against the best of an exhaustive sweep, on 69 layers.

``make explain`` runs all of it, an hour of processor time at most, and prints the tables of docs/explain.md; words name
groups of layers. A sweep is the product of the knobs' values: over 500 machines and forms a layer. Processor time is
that of this process, on one thread; of ``eie run`` and ``eie explain`` in processes of their own, start included.
"""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

import eie
from eie.importers.synthetic import draw_map
from eie.model.dataflow import dataflow
from eie.model.recorded import recorded_uses
from eie.model.samples import Samples
from eie.studies.explain import explain as study
from eie.studies.explain.advise import OBJECTIVES, advise
from eie.studies.explain.base import Asked, base_run
from eie.studies.explain.bench import Cost, Setting
from eie.studies.explain.capacity import larger
from eie.studies.explain.knobs import Change, changes_of

# Of each knob, what the sweep varies: all numbers of PEs; of the others those that the machine has, and some around it.
SWEPT = {
    "PEs": None,
    "queue": (4, 16, 64),
    "index bits": (3, 5),
    "SRAM width": (32, 128),
    "rows": None,
    "conv": None,
    "residency": None,
}
# Without rows to move or ways to choose there is room for more values.
MORE = {**SWEPT, "queue": (2, 4, 16, 32, 64), "index bits": (3, 5, 6)}
LEAST = 500
Named = tuple[str, eie.Network, object]


def shipped() -> Iterator[Named]:
    """The layers of both LeNets, each on what it read."""
    for name in ("lenet-300-100", "lenet-5"):
        network = eie.load(name)
        trace = network.trace
        assert trace is not None
        (pixels,) = trace.head(16).layers.values()
        # Maps, where the network takes them.
        values = pixels.dense().reshape(16, *next(shape for _, shape in dataflow(network).inputs))
        recorded = eie.record(replace(network, trace=None), Samples.of(values), values=True)
        names = [layer.name for layer in network.layers]
        for layer in network.layers:
            yield f"{name} {layer.name}", *alone(layer, recorded, names)


def alone(layer: eie.Layer, trace: eie.Trace, names: Sequence[str]) -> tuple[eie.Network, eie.Trace]:
    """A layer as a network of its own, with what was recorded of it."""
    return eie.Network(name=layer.name, layers=(layer,)), eie.Trace(layers=recorded_uses(trace, layer.name, names))


def paper(residency: str | None = "ideal") -> Iterator[Named]:
    """The nine layers of Table III, in place as in the paper."""
    network = eie.load("eie-benchmark")
    names = [layer.name for layer in network.layers]
    for layer in network.layers:
        single, inputs = alone(layer, network.trace, names)
        yield layer.name, replace(single, residency=residency), inputs


def paper_auto() -> Iterator[Named]:
    """The same on the machine as it is: what does not fit comes from DRAM."""
    return paper(None)


def weights(shape: tuple[int, int], keep: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal weights where ``keep`` says so."""
    return np.where(keep, rng.standard_normal(shape, np.float32), np.float32(0))


def drawn(name: str, keep: np.ndarray, active: float, rng: np.random.Generator, samples: int = 1) -> Named:
    """A fully connected layer with these weights, on drawn inputs."""
    layer = eie.Layer.from_weights(name, weights(keep.shape, keep, rng))
    inputs = np.abs(rng.standard_normal((samples, keep.shape[1]), np.float32)) + 0.01
    inputs *= rng.random(inputs.shape) < active
    inputs[:, 0] = 1
    return name, eie.Network.of(layer), inputs


def language() -> Iterator[Named]:
    """Projections of decoders, a token at a time: dense inputs, and sparse ones as behind a ReLU."""
    rng = np.random.default_rng(1)
    for outputs, inputs in ((768, 768), (3072, 768), (768, 3072), (2048, 2048), (1024, 256), (512, 2048), (1536, 1536)):
        for density, active in ((0.5, 1.0), (0.15, 0.2)):
            keep = rng.random((outputs, inputs)) < density
            yield drawn(f"{outputs} x {inputs}, {density:.0%}, inputs {active:.0%}", keep, active, rng)


def convolutions() -> Iterator[Named]:
    """Kernels of 3x3, 1x1 and 5x5, with strides, on maps half of whose values are zero."""
    rng = np.random.default_rng(2)
    for out, channels, kernel, size, stride, density in (
        (64, 64, 3, 14, 1, 0.3), (128, 64, 3, 14, 1, 0.1), (32, 16, 3, 28, 1, 0.5), (256, 128, 1, 14, 1, 0.3),
        (64, 256, 1, 14, 1, 0.3), (16, 3, 3, 32, 1, 0.8), (64, 32, 3, 28, 2, 0.3), (48, 16, 5, 14, 1, 0.2),
        (128, 128, 3, 7, 1, 0.2), (512, 256, 1, 7, 1, 0.2), (20, 1, 5, 28, 1, 0.7), (96, 96, 3, 8, 1, 0.05),
    ):  # fmt: skip
        name = f"{out} x {channels} x {kernel}x{kernel} on {size}, {density:.0%}"
        shape = (out, channels, kernel, kernel)
        keep = rng.random((out, channels * kernel * kernel)) < density
        pad = kernel // 2
        conv = eie.Conv2d(
            in_channels=channels, out_channels=out, kernel=(kernel, kernel), stride=(stride, stride),
            pads=(pad, pad, pad, pad),
        )  # fmt: skip
        layer = eie.Layer.from_conv(name, weights(keep.shape, keep, rng).reshape(shape), conv=conv)
        inputs = draw_map(layer.geometry, size, size, 0.5, rng)
        yield name, eie.Network(name=name, layers=(layer,)), eie.Trace(layers={name: inputs})


def uneven() -> Iterator[Named]:
    """Rows that keep unlike shares of their weights, by several laws."""
    rng = np.random.default_rng(3)

    def shares(law: str, rows: int) -> np.ndarray:
        if law == "hot PEs":
            return np.where(np.arange(rows) % 64 < 8, 0.4, 0.05)
        if law == "one hot row in 64":
            return np.where(np.arange(rows) % 64 == 0, 0.5, 0.05)
        if law == "falling":
            return np.linspace(0.3, 0.01, rows)
        if law == "few rows":
            return np.where(rng.random(rows) < 0.1, 0.6, 0.02)
        return np.minimum(1, 0.02 * (1 + rng.pareto(1.5, rows)))

    for law in ("hot PEs", "one hot row in 64", "falling", "few rows", "pareto"):
        for outputs, inputs, active in ((512, 512, 0.5), (1024, 768, 1.0), (300, 784, 0.5)):
            keep = rng.random((outputs, inputs)) < shares(law, outputs)[:, None]
            yield drawn(f"{law}, {outputs} x {inputs}", keep, active, rng)
    for blocks in (8, 16, 32):
        place = np.arange(512) * blocks // 512
        keep = (place[:, None] == place[None, :]) & (rng.random((512, 512)) < 0.6)
        yield drawn(f"{blocks} diagonal blocks, 512 x 512", keep, 0.5, rng, samples=4)


GROUPS: dict[str, Callable[[], Iterator[Named]]] = {
    "shipped": shipped,
    "paper": paper,
    "paper-auto": paper_auto,
    "language": language,
    "convolutions": convolutions,
    "uneven": uneven,
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One layer: by objective the best advice over the best point of the sweep; how many were run; times."""

    name: str
    over: dict[str, float]
    best: str
    points: int
    tried: int
    times: float


def judge(name: str, network: eie.Network, inputs: object) -> Judged:
    """Set the best advice of each objective against the sweep."""
    run = cpu(lambda: eie.simulate(network, inputs, keep_outputs=False, threads=1))
    explained = cpu(lambda: eie.explain(network, inputs, threads=1))
    asked = Asked(
        spec=eie.EIE_64PE, activations=inputs, layout=None, bias="auto", conv="auto", batch=1, cell="itrs-lop",
        threads=1, progress=lambda _: None,
    )  # fmt: skip
    counted = base_run(network, asked)
    base, bench = counted.setting, counted.bench
    changes = changes_of(base, bench.forms, bench.whole, layers=counted.layers, streams=larger(counted.plan, base.spec))
    now = bench.cost(base)
    assert now is not None
    swept = [cost for cost in map(bench.cost, grid(base, every(base, counted, changes))) if allowed(cost, now)]
    over, best, tried = {}, "", 0
    for objective in OBJECTIVES:
        advised = advise(bench, base, changes, objective=objective, few=study._few(counted, 1))
        same = [each for each in advised.ranked if not each.retrains]
        ours = same[0].gain(objective)[0] if same else 1.0
        over[objective] = ours / min(ratio(cost, now, objective) for cost in swept)
        if objective == "edp":
            best, tried = (same[0].words if same else "nothing"), advised.tried
    return Judged(name=name, over=over, best=best, points=len(swept), tried=tried, times=explained / run)


def every(base: Setting, counted: object, changes: Sequence[Change]) -> list[Change]:
    """The changes that a sweep goes over; rows too where no bound asked for them."""
    rows = [change for change in changes if change.knob == "rows"]
    if not rows and counted.bench.forms.moved(base.spec.n_pe):
        rows = [Change(knob="rows", words="rows", make=lambda setting: replace(setting, permuted=True))]
    return [*(change for change in changes if not change.retrains and change.knob != "rows"), *rows]


def grid(base: Setting, changes: Sequence[Change]) -> Iterator[Setting]:
    """Every combination of the knobs' values, that of the setting as it is among them."""
    for swept in (SWEPT, MORE):
        values = {
            knob: [None, *(change for change in changes if change.knob == knob and among(change, wanted))]
            for knob, wanted in swept.items()
        }
        if np.prod([len(listed) for listed in values.values()]) >= LEAST:
            break
    for combination in itertools.product(*values.values()):
        setting = base
        for change in combination:
            setting = setting if change is None else change.make(setting)
        yield setting


def among(change: Change, wanted: tuple[int, ...] | None) -> bool:
    """Whether a change is to a value that is swept."""
    return wanted is None or int(change.words.split()[0].replace(",", "")) in wanted


def allowed(cost: Cost | None, now: Cost) -> bool:
    """Whether a point can be, at its clock."""
    return cost is not None and (cost.timing_met or not now.timing_met)


def ratio(cost: Cost, now: Cost, objective: str) -> float:
    """What a point costs over what it costs now."""
    latency = cost.latency_us.sum() / now.latency_us.sum()
    energy = cost.energy_nj.sum() / now.energy_nj.sum()
    return float(
        {"edp": latency * energy, "latency": latency, "energy": energy, "area": cost.area_mm2 / now.area_mm2}[objective]
    )


def cpu(work: Callable[[], object]) -> float:
    """Processor seconds of the faster of two calls."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def of_process(*words: str) -> float:
    """Processor seconds of a command in a process of its own, the least of three."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "eie", *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def main(words: Sequence[str]) -> None:
    """Judge the groups asked for, and print them as tables."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    rows: dict[str, list[Judged]] = {}
    for group in words or GROUPS:
        rows[group] = []
        for named in GROUPS[group]():
            judged = judge(*named)
            rows[group].append(judged)
            told = " ".join(f"{objective} {over:.3f}" for objective, over in judged.over.items())
            print(
                f"{group:12} {judged.name:40} {judged.points:5} points {told} tried {judged.tried:3} "
                f"time {judged.times:.1f} x: {judged.best}",
                file=sys.stderr,
                flush=True,
            )
    print("| layers | | points a layer | tried | energy x delay | latency | energy | area | time over `simulate` |")
    print("|---|---|---|---|---|---|---|---|---|")
    for group, listed in {**rows, "all": [each for judged in rows.values() for each in judged]}.items():
        worst = " | ".join(f"{max(each.over[objective] for each in listed) - 1:+.1%}" for objective in OBJECTIVES)
        points = f"{min(each.points for each in listed)} to {max(each.points for each in listed)}"
        tried = round(statistics.median(each.tried for each in listed))
        times = sorted(each.times for each in listed)
        print(
            f"| {group} | {len(listed)} | {points} | {tried} | {worst} | {statistics.median(times):.1f}, at most "
            f"{times[-1]:.1f} |"
        )
    if not words:
        for model in ("lenet-300-100", "lenet-5", "eie-benchmark"):
            run, explained = of_process("run", model), of_process("explain", model)
            print(f"{model}: eie run {run:.2f} s, eie explain {explained:.2f} s, {explained / run:.1f} times")


if __name__ == "__main__":
    main(sys.argv[1:])
