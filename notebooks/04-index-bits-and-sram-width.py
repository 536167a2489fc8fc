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
# # Index bits, padding and SRAM width
#
# An entry is a 4-bit code and a run of zeros. Fewer bits for the run make entries smaller, but long gaps then need
# padding entries, which cost space *and* cycles. Where is the optimum? It depends on the density and on how many rows
# a PE has.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt

import eie

names, index_bits = ("Alex-6", "VGG-7", "VGG-8", "NT-Wd"), (1, 2, 3, 4, 5, 6, 8)
benchmark = eie.load("eie-benchmark")
runs = {}
for layer in benchmark.layers:
    if layer.name in names:
        inputs = eie.Trace(layers={layer.name: benchmark.trace.layers[layer.name]})
        for bits in index_bits:
            spec = eie.EIE_64PE.replace(index_bits=bits, spmat_row_bits=8 * (4 + bits), residency="ideal")
            runs[layer.name, bits] = eie.simulate(layer, inputs, spec=spec, keep_outputs=False).layers[0]


def lines(of, value, title):
    """Draw a figure of every layer over the index bits."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for name in names:
        axes.plot(index_bits, [value(runs[name, bits]) for bits in index_bits], "o-", markersize=4, label=name)
    axes.set_xticks(index_bits)
    axes.set(xlabel="index bits", ylabel=of, title=title)
    figure.legend(loc="outside right center", fontsize=8)


# %% [markdown]
# Storage: bits for each weight that is really there, padding included. The best is 3 bits where 23 % of the weights
# are kept (VGG-8), 5 at about 10 % (Alex-6, NT-Wd), 6 at 4 % (VGG-7). The 4 bits of the paper are within 10 % of the
# best on all but VGG-7, where they cost a quarter more.

# %%
lines("bits / weight", lambda run: run.encoded.entries * run.spec.entry_bits / run.encoded.weights, "Storage")

# %% [markdown]
# Time: padding takes cycles, so more index bits are always faster, if hardly beyond 5.

# %%
lines("time of one frame (us)", lambda run: run.latency_us, "Time")

# %% [markdown]
# Bits read from the SRAM for one frame, in rows of eight entries: the product of both. Here 4 bits are the best or
# close to it on all four layers.

# %%
lines("Mbit read / frame", lambda run: run.counts["spmat_reads"] * run.spec.spmat_row_bits / 1e6, "SRAM traffic")

# %% [markdown]
# ## SRAM width
#
# A wide row is read less often but costs more. If a PE holds the last row, wide rows hardly cost more and in the end
# less, because the next active column is often in the same row; if every column fetches its rows anew, what it does not
# need of a row is wasted, and 64 bits, eight entries, are the optimum or 9 % from it, depending on CACTI's cell, as in
# the paper's Figure 9. At 64 bits a read is what Table II leaves for it; other widths are CACTI 7's ratios. These are
# reads only: a wider row also needs a wider register, which the clock drives (docs/energy.md).

# %%
axes = eie.paper(["figure9"]).plot(only="figure9")
