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
# # Queue depth and load balance
#
# All PEs get every non-zero activation, but not the same number of weights for it. Without queues the slowest PE of
# each column would set the pace. A queue lets the others run ahead, as long as no single PE is behind for good. So
# there are two kinds of imbalance: *from column to column*, which a queue absorbs, and *in total*, which no queue
# can.

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt
import numpy as np

import eie

fc8 = os.environ.get("EIE_FC8")
axes = eie.paper(["figure8"], fc8=fc8).plot(only="figure8")

# %% [markdown]
# Eight slots bring most of what queues can bring, on all nine layers of the paper's benchmark. What is left beyond is
# the second kind of imbalance, and NT-We: 600 rows on 64 PEs leave less than one weight for a PE in a column, and an
# empty column costs a cycle too. Slots are registers, whose clock runs in every cycle: over these nine layers the least
# energy x delay lies at 16 slots, 2 % below that of 8 and 6 % below that of 64 (docs/energy.md).
#
# ## Real layers are less even than random ones
#
# Compare, on the shape of AlexNet's last layer (1000 x 4096, a quarter of the weights kept): weights kept at random;
# weights as uneven from row to row as magnitude pruning really leaves them; the real layer, if its data is at hand
# (`EIE_FC8`). Then two remedies. **Sorted rows**: deal the rows out by their number of weights, fullest first, back
# and forth, so that each PE gets its share of full ones. **Balanced pruning**: choose the weights so that every PE
# keeps the same number in every column.

# %%
columns, depths = 4096, (2, 4, 8, 16, 32, 64, 128, 256)
rng = np.random.default_rng(0)
active = rng.random(columns) < 0.43


def propensities(count, spread):
    """Draw numbers around 1 with this coefficient of variation."""
    return rng.gamma(spread**-2, spread**2, count) if spread else np.ones(count)


masks = {}
for name, row_spread in (("random", 0), ("as pruned", 0.13)):
    chances = 0.257 * np.outer(propensities(1000, row_spread), propensities(columns, 0.08))
    masks[name] = np.pad(rng.random(chances.shape) < chances, ((0, 24), (0, 0)))  # whole hands of 64 rows
order = masks["as pruned"].sum(axis=1).argsort()[::-1].reshape(-1, 64)
order[1::2] = order[1::2, ::-1]
masks["rows sorted"] = masks["as pruned"][order.ravel()]
masks["balanced"] = rng.random((16, 64, columns)).argsort(axis=0).reshape(1024, columns) < 4


def run(layer, activations, depth=8):
    return eie.simulate(layer, activations, spec=eie.EIE_64PE.replace(act_queue_depth=depth)).layers[0]


jobs = {name: (eie.Layer.from_weights(name, mask), active) for name, mask in masks.items()}
if fc8:
    data = np.load(fc8)
    real = eie.Layer.from_codes("real fc8", data["codes"], data["codebook"], data["bias_codes"])
    jobs["real fc8"] = (real, data["act"])
figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for name, job in jobs.items():
    axes.plot(depths, [run(*job, depth).efficiency for depth in depths], "o-", markersize=4, label=name)
axes.set_xscale("log", base=2)
axes.set_xticks(depths, [str(depth) for depth in depths])
axes.minorticks_off()
axes.set(xlabel="FIFO depth (slots)", ylabel="load-balance efficiency", title="What evens out the load")
legend = figure.legend(loc="outside right center", fontsize=8)

# %% [markdown]
# The real layer and the masks made as uneven as it run alike; random masks promise too much. Sorting the rows costs
# nothing at run time (only the order of the outputs changes) and takes the total imbalance away, so that deep queues
# reach more than on random masks. Balanced pruning removes both kinds: two slots are enough. It restricts which weights
# may stay, which costs accuracy or density.
#
# ## Where the cycles go
#
# At depth 2 every PE waits, even the fullest: a PE that is slow in one column blocks the next broadcast for all
# (*idle stall*). At depth 8 the waiting that is left follows the total: the fullest PE hardly waits, the emptiest waits
# most. With sorted rows all are about as full.

# %%
shown = ("useful", "padding", "empty_column", "idle_broadcast", "idle_scan", "idle_stall", "drain")
print(f"{'':22s}" + "".join(f"{name.replace('_', ' '):>16s}" for name in shown))
for name, depth in (("as pruned", 2), ("as pruned", 8), ("rows sorted", 8), ("balanced", 2)):
    layer = run(*jobs[name], depth)
    print(f"{name + ', queue ' + str(depth):22s}" + "".join(f"{layer.shares[kind]:16.1%}" for kind in shown))

# %%
axes = run(*jobs["as pruned"], depth=2).plot(only="pe-cycles")

# %%
axes = run(*jobs["as pruned"]).plot(only="pe-cycles")

# %%
axes = run(*jobs["rows sorted"]).plot(only="pe-cycles")

# %% [markdown]
# This layer has work for its PEs in nearly every column, so balance and queues are the right knobs. LeNet-300-100
# (lesson 2) is not like that: there seven to nine in ten PE cycles are empty columns, and neither balance nor a deeper
# queue would gain much; fewer PEs save energy and area. Ask the shares before turning a knob:

# %%
lenet = eie.simulate("lenet-300-100", spec=eie.EIE_64PE, shares=True)
for layer in lenet.layers:
    print(
        f"{layer.name}: empty columns {layer.shares['empty_column']:.0%} of the PE cycles, bound by {layer.bound_by} "
        f"({layer.bound_parts[layer.bound_by]:.0%} of its cycles), perfect balance would save {layer.balance_saves:.0%}"
    )
deep = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(act_queue_depth=512))
print(f"a queue of 512 instead of 8 saves {1 - deep.latency_us / lenet.latency_us:.0%} of the time")

# %% [markdown]
# How uneven is *uneven*? The coefficient of variation of the non-zeros a row, less what chance alone would give, for
# the shipped LeNet:


# %%
def unevenness(kept, axis):
    """Coefficient of variation of the counts along an axis, without the part that independent draws would have."""
    counts, chance = kept.sum(axis=axis), kept.mean()
    return np.sqrt(max(0, counts.var() / counts.mean() ** 2 - (1 - chance) / (chance * kept.shape[axis])))


for layer in eie.load("lenet-300-100").layers:
    kept = layer.weights != 0
    print(f"{layer.name}: {kept.mean():.0%} kept, rows {unevenness(kept, 1):.0%}, columns {unevenness(kept, 0):.0%}")
