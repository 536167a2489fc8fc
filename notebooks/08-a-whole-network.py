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
# # A whole network on a whole machine
#
# The EIE paper times layers one by one, each with its weights in place. A network shares the chip: its layers lie
# side by side in the same memories. This notebook takes the three fully connected layers of AlexNet as one network,
# sees what stays and what has to come, and what that costs. Their shapes and densities are those of the paper's
# benchmark; masks and inputs are drawn, so real layers are less even.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np

import eie

benchmark = eie.load("eie-benchmark")
layers = benchmark.layers[:3]
trace = eie.Trace(layers={layer.name: benchmark.trace.layers[layer.name] for layer in layers})
alexnet = eie.Network(name="alexnet-fc", layers=layers, trace=trace)
program = eie.compile(alexnet)
[fit.fits for fit in program.fit]

# %% [markdown]
# One by one they fit, all three. Together they do not:

# %%
program.memory

# %% [markdown]
# The sparse matrix would fit, and the pointers do not: every column of every layer needs one. So one layer comes from
# DRAM while it works. The plan keeps those that save most stall cycles for each KiB they take, and says so of each.
# It looks at the program and the machine only, never at activations: a chip is laid out before the first image comes.
#
# ## What it costs
#
# `residency="ideal"` is the paper's machine, which has everything where it is needed. Of a layer that is streamed,
# either all columns come, or those of the non-zero activations, which a look-ahead scanner finds.

# %%
machines = {
    "ideal": eie.EIE_64PE.replace(residency="ideal"),
    "columns": eie.EIE_64PE.replace(stream="columns"),
    "layer": eie.EIE_64PE.replace(stream="layer"),
}
results = {
    name: eie.simulate(alexnet, spec=spec, datapath="none", keep_outputs=False) for name, spec in machines.items()
}
for name, result in results.items():
    mib = sum(layer.counts["dram_bits"] for layer in result.layers) / 8 / 2**20
    energy = result.energy()
    print(f"{name:8} {result.latency_us:7.1f} us, {mib:5.2f} MiB from DRAM, {energy.total_nj / 1e3:6.1f} uJ", end=" ")
    print(f"(between {energy.low_nj / 1e3:.1f} and {energy.high_nj / 1e3:.1f})")

# %% [markdown]
# One layer of three, with a third of its columns active, takes more than twice as long as all three in place, and most
# of the energy. Where that goes:

# %%
results["columns"].energy()

# %% [markdown]
# DRAM takes seven tenths. Most of the rest of Alex-7 is clock and leakage: its PEs wait for columns most of the time,
# which is not free. The clock is Table II's; how much leaks is not known, so the total stands between two bounds, which
# part where PEs wait (docs/energy.md).
#
# The DRAM is the one of the paper's Table I, 6.4 GB/s; with another one the picture changes:

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4))
names = ("lpddr2", "lpddr5", "hbm2")
for stream in ("layer", "columns"):
    times = [
        eie.simulate(
            alexnet, spec=eie.EIE_64PE.replace(dram=dram, stream=stream), datapath="none", keep_outputs=False
        ).latency_us
        for dram in names
    ]
    axes.plot(names, times, "o-", label=f"stream = {stream}")
axes.axhline(results["ideal"].latency_us, color="black", linewidth=0.8, linestyle="--", label="all in place")
axes.set(ylabel="us a sample", ylim=(0, None))
axes.legend()
figure

# %% [markdown]
# Where DRAM is slow, every column that is not fetched is time saved. Where it is fast enough, the active columns come
# as quickly as they are issued, and the layer takes as long as in place.
#
# ## How much SRAM would do
#
# A sweep makes the plan anew for every point. More pointers, and the network fits:

# %%
sweep = eie.sweep(alexnet, {"ptr_kib": [8, 16, 24, 32, 40]})
for total in sweep.totals:
    stay = [
        row["layer"] for row in sweep.layers if row["ptr_kib"] == total["ptr_kib"] and row["residency"] == "resident"
    ]
    print(f"{total['ptr_kib']:2} KiB: {total['latency_us']:6.1f} us, {', '.join(stay) or 'nothing'} on the chip")

# %% [markdown]
# ## Batches
#
# Samples are inferences of their own. In a batch every layer takes all samples before the next layer begins, and what
# has to come comes once. Here four inputs, drawn with the same share of non-zeros:

# %%
rng = np.random.default_rng(0)
inputs = {
    layer.name: (rng.random((4, layer.inputs)) < trace.layers[layer.name].density).astype(np.float32)
    for layer in layers
}
for size in (1, 2, 4):
    result = eie.simulate(alexnet, inputs, batch=size, datapath="none", keep_outputs=False)
    mib = sum(layer.activity.counts["dram_bits"].sum() for layer in result.layers) / 8 / 2**20
    issued = sum(layer.activity.per_pe["issue"].sum() for layer in result.layers)
    print(
        f"batch {size}: {result.batch_latency.mean:6.1f} us a batch, {result.samples_per_s:6,.0f} samples/s, "
        f"{mib:5.2f} MiB from DRAM, {issued:,} entries issued"
    )

# %% [markdown]
# A batch loads less: a column that two samples need comes once. It issues exactly as many entries, so it helps where
# the bus sets the pace, up to the time of the machine with everything in place; and every sample waits for its batch.

# %%
assert results["ideal"].latency_us < results["columns"].latency_us < results["layer"].latency_us
