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
results = {n: eie.simulate(network, images, spec=eie.EIE_64PE.replace(n_pe=n, residency="ideal")) for n in counts}
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
# ip1 gains until about 128 PEs, ip2 until 32, ip3 hardly anything beyond 4. Three things stop them.
#
# **1. Imbalance.** Pruning does not care about PEs. The fewer rows a PE has, the more its share depends on which rows
# it got:

# %%
lines("busiest PE / mean", lambda n_pe, i: results[n_pe].layers[i].imbalance, "Imbalance grows with the PEs")

# %% [markdown]
# **2. Empty columns.** With few rows a PE often holds nothing for an activation, and finding that out costs a cycle.
# No machine of this kind is faster than one broadcast a cycle. Here is where each PE's cycles go in ip1:

# %%
results[16].layers[0].plot()["pe-cycles"]

# %%
results[128].layers[0].plot()["pe-cycles"]

# %% [markdown]
# On 16 PEs there is mostly work to do. On 128 PEs most cycles of most PEs find an empty column or wait.
#
# **3. Fixed costs.** Loading the first row of activations, the scanner's dead cycles and the pipeline's drain take
# some ten cycles a layer, whatever the number of PEs. ip3 has 10 outputs: beyond 10 PEs, the others hold nothing at
# all.
#
# One thing gets *better* with more PEs: gaps between a PE's weights shrink, and with them the padding.

# %%
lines("padding / entries", lambda n_pe, i: results[n_pe].layers[i].padding_share, "Padding shrinks")

# %% [markdown]
# So for this model 64 PEs are already generous: four times as many would gain a quarter on ip1 and nothing on the rest.
# Theoretical (work shared evenly), actual and uncompressed times:

# %%
results[64].plot()["latency"]
