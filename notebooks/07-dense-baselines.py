# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Against the dense world
#
# A sparse accelerator has to beat machines that multiply everything. This notebook sets the nine layers of the EIE
# paper, and some convolutions, beside them: a systolic array, a GPU's tensor cores, rooflines, the computer at hand.

# %%
# %matplotlib inline
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import eie

machines = ("published:cpu_dense_b1", "systolic:32x32:ws", "nm:2:4")
comparison = eie.compare("eie-benchmark", machines)
axes = comparison.plot(only="compare-speedup")

# %% [markdown]
# The bars are speedups over the CPU as the paper measured it, on a log axis as in its Figure 6. What is called a bound
# reaches its peak or its bandwidth and launches nothing: no program on that machine is faster. Such a comparison is
# never fair, and the record says where:

# %%
print(*comparison.warnings, sep="\n")

# %% [markdown]
# ## Why a systolic array is slow at batch 1
#
# An array of R x C multipliers loads a piece of the weights, streams vectors through it, and goes on to the next
# piece. With one vector the loading is nearly all there is. The cycles are SCALE-Sim's, in closed form, so thousands
# of arrays cost milliseconds:

# %%
sides = [2**i for i in range(2, 9)]
# An array does not look at weights, so nearly empty layers of the right shapes serve.
full = eie.Layer.from_weights("full", np.eye(4096))
conv = eie.Layer.from_conv("conv", np.eye(128, 1152).reshape(128, 128, 3, 3))
pixels = eie.Trace(layers={"conv": eie.LayerTrace.from_dense(np.ones((784, 1152)), products=784)})
shapes = {
    "fully connected, 1 vector": (eie.simulate(full), ""),
    "fully connected, 64 vectors": (eie.simulate(full), ":b64"),
    "3x3 convolution, 784 pixels": (eie.simulate(conv, pixels), ""),
}
figure, axes = plt.subplots(figsize=(6.4, 3.4))
for label, (layer, batch) in shapes.items():
    for flow, dash in (("ws", "-"), ("os", ":")):
        _, *arrays = eie.compare(layer, [f"systolic:{side}x{side}:{flow}{batch}" for side in sides]).columns
        used = [100 * cost.utilisation for array in arrays for cost in array.costs.values()]
        colour = f"C{list(shapes).index(label)}"
        axes.plot(sides, used, dash, marker="o", markersize=3, color=colour, label=f"{label}, {flow}")
axes.set_xscale("log", base=2)
axes.set_xticks(sides, [str(side) for side in sides])
axes.set(
    xlabel="rows and columns of the array",
    ylabel="multipliers in use (%)",
    ylim=(0, 100),
    title="How busy a systolic array is",
)
figure.legend(loc="outside right center", fontsize=7)
figure.set_layout_engine("constrained")

# %% [markdown]
# Convolutions have hundreds of vectors a layer and keep an array busy until it has more columns than they have filters.
# A fully connected layer at batch 1 does not: on 32 x 32 with stationary weights, one multiplier in a hundred works.
# That is the layer EIE was built for.
#
# ## How far a roofline is from a measurement
#
# A roofline knows two numbers of a machine, its peak arithmetic and its bandwidth. Table IV of the paper has measured
# times of the same machines. Their ratio says how much a library leaves on the table:

# %%
result = eie.simulate("eie-benchmark", keep_outputs=False)
for name, machine in (("cpu", "i7-5930k"), ("gpu", "titan-x"), ("mgpu", "tegra-k1")):
    for storage, batch in (("dense", 1), ("sparse", 1), ("dense", 64), ("sparse", 64)):
        published = f"{name}_{storage}_b{batch}"
        line = f"roofline:{machine}:{storage.replace('sparse', 'csr')}:b{batch}"
        _, measured, roofline = eie.compare(result, [f"published:{published}", line]).columns
        ratios = [measured.costs[layer].latency_us / roofline.costs[layer].latency_us for layer in measured.costs]
        mean = np.exp(np.mean(np.log(ratios)))
        print(f"{published:18} measured / roofline: {mean:5.2f} ({min(ratios):.2f} to {max(ratios):.2f})")

# %% [markdown]
# ## At which sparsity does CSR pay, here and now?
#
# One layer, 1024 x 1024, on this computer: numpy's dense product against scipy's CSR at several sparsities, timed in
# turns so that whatever else the machine does meets all of them.

# %%
layer = eie.Layer.from_weights("fc", np.random.default_rng(0).standard_normal((1024, 1024)))
sparsities = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
forms = [f"fine:{sparsity}" for sparsity in sparsities]
ways = [f"measured:{storage}:b{batch}" for batch in (1, 16) for storage in ("dense", "csr")]
study = eie.granularity(layer, forms, ways, with_search=False)
figure, axes = plt.subplots(figsize=(6.0, 3.2))
for batch, colour in ((1, "#0072B2"), (16, "#D55E00")):
    gains = [study.speedup(row, f"measured:csr:b{batch}") for row in study.rows[1:]]
    axes.plot(sparsities, gains, "o-", color=colour, label=f"batch {batch}")
axes.axhline(1, color="black", linewidth=0.6)
axes.set_yscale("log", base=2)
axes.yaxis.set_major_formatter("{x:g}x")
axes.set(xlabel="sparsity", ylabel="speed of CSR over dense", title=study.rows[0].costs[ways[0]].machine.name)
legend = axes.legend()

# %% [markdown]
# Below one, the indices cost more than the zeros save. Where a line crosses depends on the layer, the batch, both
# libraries and the machine; that is why it is measured and not stated.
#
# ## Reports of other simulators
#
# SCALE-Sim's topologies are models (`eie.load("topology.csv")`), and its reports are baselines. Here are three
# convolutions and what SCALE-Sim 3.0.0 reported for them on a 16 x 16 array, weights stationary. Its report knows
# layers by number only:

# %%
folder = Path(mkdtemp()) / "conv-16x16"
folder.mkdir()
(folder / "topology.csv").write_text(
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    "c1, 14, 14, 3, 3, 16, 32, 1,\nc2, 28, 28, 5, 5, 3, 8, 1,\nc3, 7, 7, 1, 1, 64, 128, 1,\n"
)
(folder / "COMPUTE_REPORT.csv").write_text(
    "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, "
    "Compute Util %,\n"
    "0, 3874, 3419, 0, 75.81164083065224, 100.0, 70.24390243902441,\n"
    "1, 4053, 3109, 0, 43.42232229012544, 46.875, 42.3861852433281,\n"
    "2, 3227, 3039, 0, 51.59591971043106, 100.0, 44.54545454545454,\n"
)
topology = eie.load(folder / "topology.csv")
reported = [str(folder / "COMPUTE_REPORT.csv"), "systolic:16x16:ws"]
theirs = eie.compare(topology, reported)
for row in theirs.records()[:9]:
    print(f"{row['layer']:3} {row['machine']:24} {row['cycles']:>8,.0f} cycles")
print(*(note for note in theirs.notes if "taken for" in note), sep="\n")

# %% [markdown]
# `eie compare RESULT.json --baseline ...` does all of this from the command line; docs/baselines.md has every
# formula.
