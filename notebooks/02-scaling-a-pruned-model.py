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
# # Where does scaling stop, and why
#
# A real model this time: LeNet-300-100 on Fashion-MNIST, pruned to 8, 9 and 26 % of its weights, with 64 recorded
# images. Twice the PEs should halve the time. How far does that go?

# %%
# %matplotlib inline
import matplotlib.pyplot as plt

import eie

network = eie.load("lenet-300-100")
images = network.trace.head(64)
counts = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# As in the paper: accumulators for all outputs, however few PEs there are.
machines = {n: eie.EIE_64PE.replace(n_pe=n, residency="ideal") for n in counts}
results = {n: eie.simulate(network, images, spec=spec, shares=True) for n, spec in machines.items()}
results[64]


# %%
def lines(of, value, title):
    """Draw a figure of every layer over the number of PEs."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for i, layer in enumerate(network.layers):
        axes.plot(counts, [value(n_pe, i) for n_pe in counts], "o-", markersize=4, linewidth=1.3, label=layer.name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n_pe) for n_pe in counts])
    axes.minorticks_off()
    axes.set(xlabel="processing elements", ylabel=of, title=title)
    figure.legend(loc="outside right center", fontsize=8)


def speedup(n_pe, i):
    return results[1].layers[i].latency_us / results[n_pe].layers[i].latency_us


lines("speedup over 1 PE (x)", speedup, "LeNet-300-100: it stops early")

# %% [markdown]
# ip1 gains until about 128 PEs, ip2 until 32, ip3 hardly anything beyond 4. What stops them? Here is where the cycles
# of all PEs go in ip1:

# %%
COLOURS = {
    "useful": "#0072B2", "padding": "#56B4E9", "empty_column": "#E69F00", "idle_broadcast": "#CCCCCC",
    "idle_scan": "#999999", "idle_stall": "#D55E00", "idle_load": "#CC79A7", "drain": "#444444",
}  # fmt: skip


def shares(layer):
    """Stack the shares of a layer's PE cycles, a bar for each number of PEs."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    base = [0.0] * len(counts)
    for name, colour in COLOURS.items():
        values = [results[n].layers[layer].shares[name] for n in counts]
        if any(values):
            axes.bar(range(len(counts)), values, bottom=base, color=colour, label=name.replace("_", " "))
        base = [below + value for below, value in zip(base, values, strict=True)]
    axes.set_xticks(range(len(counts)), [str(n) for n in counts])
    axes.set(xlabel="processing elements", ylabel="share of PE cycles", title=network.layers[layer].name, ylim=(0, 1))
    figure.legend(loc="outside right center", fontsize=8)


shares(0)

# %% [markdown]
# **1. Empty columns.** With few rows a PE often holds nothing for an activation, and looking that up takes a cycle, as
# long as an entry would. No machine of this kind is faster than one broadcast a cycle, and from 32 PEs on the
# broadcasts are what the time is for:

# %%
for n in counts:
    bound = [f"{layer.name} {layer.bound_by} {layer.bound_parts[layer.bound_by]:.0%}" for layer in results[n].layers]
    print(f"{n:4d} PEs: " + ", ".join(bound))

# %% [markdown]
# On 16 PEs half of the PE cycles of ip1 are useful work; on 64 a fifth, and seven in ten find an empty column.
#
# **2. Imbalance, less than one would think.** Pruning does not care about PEs: the fewer rows a PE has, the more its
# work depends on which rows it got. The busiest PE does twice the mean and more. But as long as it works less than the
# broadcasts take, it holds nobody up; what perfect balance would save is small:

# %%
lines("busiest PE / mean", lambda n_pe, i: results[n_pe].layers[i].imbalance, "Imbalance grows with the PEs")

# %%
lines(
    "cycles perfect balance would save (share)",
    lambda n_pe, i: results[n_pe].layers[i].balance_saves,
    "It matters less",
)

# %% [markdown]
# **3. Fixed costs.** Loading the first row of activations, the scanner's dead cycles and the pipeline's drain take
# some ten cycles a layer, whatever the number of PEs. ip3 has 10 outputs: beyond 10 PEs, the others hold nothing at
# all.
#
# One thing gets *better* with more PEs: gaps between a PE's weights shrink, and with them the padding.

# %%
lines("padding / entries", lambda n_pe, i: results[n_pe].layers[i].padding_share, "Padding shrinks")

# %% [markdown]
# So for this model 64 PEs are more than generous. What a quarter of them costs and saves:

# %%
few, many = results[16], results[64]
print(f"16 PEs instead of 64: {few.latency_us / many.latency_us:.1f} times the time, ", end="")
print(f"{many.energy().total_nj / few.energy().total_nj:.1f} times less energy, ", end="")
print(f"{eie.area(many.spec).total_mm2 / eie.area(few.spec).total_mm2:.1f} times less area")

# %% [markdown]
# Theoretical (work shared evenly), actual and uncompressed times on 64:

# %%
axes = many.plot(only="latency")
