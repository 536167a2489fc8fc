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
import eie
from eie.plots.paper import lines
from eie.plots.result import latency, pe_cycles
from eie.show.sections import Curves

network = eie.load("lenet-300-100")
images = network.trace.head(64)
counts = (1, 2, 4, 8, 16, 32, 64, 128, 256)
results = {n: eie.simulate(eie.compile(network, eie.EIE_64PE.replace(n_pe=n)), images) for n in counts}
results[64]


# %%
def curves(label, value):
    rows = {layer.name: i for i, layer in enumerate(network.layers)}
    return Curves(
        x_label="processing elements",
        x=counts,
        y_label=label,
        series={n: tuple(value(p, i) for p in counts) for n, i in rows.items()},
    )


def speedup(n_pe, i):
    return results[1].layers[i].latency_us / results[n_pe].layers[i].latency_us


lines(curves("speedup over 1 PE (x)", speedup), "LeNet-300-100: it stops early")

# %% [markdown]
# ip1 gains until about 128 PEs, ip2 until 32, ip3 hardly anything beyond 4. Three things stop them.
#
# **1. Imbalance.** Pruning does not care about PEs. The fewer rows a PE has, the more its share depends on which rows
# it got:

# %%
lines(curves("busiest PE / mean", lambda n_pe, i: results[n_pe].layers[i].imbalance), "Imbalance grows with the PEs")

# %% [markdown]
# **2. Empty columns.** With few rows a PE often holds nothing for an activation, and finding that out costs a cycle.
# No machine of this kind is faster than one broadcast a cycle. Here is where each PE's cycles go in ip1:

# %%
pe_cycles(results[16].layers[0])

# %%
pe_cycles(results[128].layers[0])

# %% [markdown]
# On 16 PEs there is mostly work to do. On 128 PEs most cycles of most PEs find an empty column or wait.
#
# **3. Fixed costs.** Loading the first row of activations, the scanner's dead cycles and the pipeline's drain take
# some ten cycles a layer, whatever the number of PEs. ip3 has 10 outputs: beyond 10 PEs, the others hold nothing at
# all.
#
# One thing gets *better* with more PEs: gaps between a PE's weights shrink, and with them the padding.

# %%
lines(curves("padding / entries", lambda n_pe, i: results[n_pe].layers[i].padding_share), "Padding shrinks")

# %% [markdown]
# So for this model 64 PEs are already generous: four times as many would gain a quarter on ip1 and nothing on the rest.
# Theoretical (work shared evenly), actual and uncompressed times:

# %%
latency(results[64])
