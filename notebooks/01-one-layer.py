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
# # One layer, step by step
#
# A pruned layer is a sparse matrix times a sparse vector. EIE stores the matrix so that both kinds of zeros cost
# nothing: the zeros of the weights are not stored, the zeros of the activations are not broadcast. Here is what that
# looks like on a layer small enough to print.

# %%
# %matplotlib inline
from itertools import pairwise

import numpy as np

import eie

# %% [markdown]
# ## Encoding: gaps instead of addresses
#
# One column, one processing element (PE). For every non-zero weight the PE keeps a 4-bit code (which of 15 shared
# weights) and a 4-bit run (how many zeros came before). The paper's own example has 18 zeros before the last weight,
# more than 4 bits can say: a *padding* entry, code 0 with run 15, stands for sixteen rows.

# %%
column = np.array([0, 0, 1, 2] + 18 * [0] + [3.0])[:, None]
one_pe = eie.compile(eie.Layer.from_weights("example", column), eie.EIE_64PE.replace(n_pe=1))
codes, runs, pointers = one_pe.layers[0].passes[0].pe_image(0)
print("codes   ", codes)
print("runs    ", runs)
print("pointers", pointers, " (column 0 is entries 0 to 3)")

# %% [markdown]
# ## Who holds what: rows are dealt out like cards
#
# Row $i$ belongs to PE $i \bmod P$. With 4 PEs and 16 rows, each PE has four rows of every column, and all of them
# work on the same column at the same time. The listing shows, for each PE, the entries of its columns; a dot is a
# column that holds nothing for it.

# %%
rng = np.random.default_rng(1)
weights = rng.choice([-2.0, -1.0, 1.0, 2.0], (16, 8)) * (rng.random((16, 8)) < 0.25)
activations = np.array([0, 0, 1.5, 0, 0.5, 1.0, 0, 2.0])
spec = eie.EIE_64PE.replace(n_pe=4)
program = eie.compile(eie.Layer.from_weights("small", weights), spec)
for pe in range(4):
    codes, runs, pointers = program.layers[0].passes[0].pe_image(pe)
    entries = [f"{code}/{run}" for code, run in zip(codes, runs, strict=True)]
    columns = [" ".join(entries[a:b]) or "." for a, b in pairwise(pointers)]
    print(f"PE {pe}, code/run by column:  " + " | ".join(f"{text:^7s}" for text in columns))

# %% [markdown]
# ## Cycle by cycle
#
# The event engine has one SimPy process for each hardware unit. Four of the eight activations are not zero, so there
# are four broadcasts. Watch the scanner skip zeros for free within a row of four, the queues fill, and the PEs that
# hold nothing in a column still spend one cycle on it.

# %%
events = eie.simulate(program, activations, engine="events", log=print)

# %% [markdown]
# The numbers are those of the matrix-vector product, in 16-bit fixed point:

# %%
layer = events.layers[0]
print("EIE  ", np.round(layer.outputs, 3))
print("numpy", np.round(weights @ activations, 3))
print(f"{layer.cycles} cycles; {layer.counts['entries']} entries, so {layer.theoretical_us * 800:.2f} if shared evenly")

# %% [markdown]
# ## Where the cycles went
#
# *Issue* is work; *empty column* a cycle spent finding out that there is none; *starved* is waiting for the next
# broadcast; *drain* is the end, when other PEs still work and the pipeline empties.

# %%
axes = layer.plot(only="pe-cycles")

# %% [markdown]
# `shares` adds the cycles of all PEs up and splits the waiting by its cause: each idle cycle of a PE has the cause of
# what the control did in that same cycle. The shares add up to one (docs/cycle-model.md). On so small a layer the
# pipeline's drain and the scanner's first row weigh more than anything else; on a real one they are a few per cent.

# %%
for name, share in layer.shares.items():
    print(f"{name:15s} {share:5.1%}")
print(f"{'sum':15s} {sum(layer.shares.values()):5.1%}; bound by {layer.bound_by}")

# %% [markdown]
# ## The same, fast
#
# Timing needs no loop over cycles: recurrences over the broadcasts give the same counts (docs/cycle-model.md). That
# is the default engine.

# %%
fast = eie.simulate(program, activations)
assert (fast.layers[0].cycles, fast.layers[0].counts) == (layer.cycles, layer.counts)
fast
