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
import eie
from eie.plots.paper import draw, lines
from eie.show.sections import Curves
from eie.simulator.stages import time_layer
from eie.studies.paper.bench import Bench
from eie.studies.paper.scaling import figure9

bench = Bench()
names, index_bits = ("Alex-6", "VGG-7", "VGG-8", "NT-Wd"), (1, 2, 3, 4, 5, 6, 8)
runs = {}
for name in names:
    work = bench.workload(name, "spread")
    for bits in index_bits:
        spec = eie.EIE_64PE.replace(index_bits=bits, spmat_row_bits=8 * (4 + bits))
        encoded = eie.compile(work.layer, spec).layers[0]
        runs[name, bits] = spec, encoded, time_layer(encoded, work.inputs, spec)


def by_bits(label, value):
    series = {name: tuple(value(*runs[name, bits]) for bits in index_bits) for name in names}
    return Curves(x_label="index bits", x=index_bits, y_label=label, series=series)


# %% [markdown]
# Storage: bits for each weight that is really there, padding included. The best is 3 bits where 23 % of the weights
# are kept (VGG-8), 5 at about 10 % (Alex-6, NT-Wd), 6 at 4 % (VGG-7). The 4 bits of the paper are within 10 % of the
# best on all but VGG-7, where they cost a quarter more.

# %%
lines(by_bits("bits / weight", lambda spec, layer, _: layer.entries * spec.entry_bits / layer.weights), "Storage")

# %% [markdown]
# Time: padding takes cycles, so more index bits are always faster, if hardly beyond 5.

# %%
lines(by_bits("time of one frame (us)", lambda spec, _, activity: spec.us(activity.cycles[0])), "Time")

# %% [markdown]
# Bits read from the SRAM for one frame, in rows of eight entries: the product of both. Here 4 bits are the best or
# close to it on all four layers.

# %%
lines(by_bits("Mbit read / frame", lambda s, _, a: a.counts["spmat_reads"][0] * s.spmat_row_bits / 1e6), "SRAM traffic")

# %% [markdown]
# ## SRAM width
#
# A wide row is read less often but costs more. If a PE holds the last row, it profits from wide rows on and on,
# because the next active column is often in the same row; if every column fetches its rows anew, what it does not
# need of a row is wasted, and 64 bits, eight entries, are about the optimum, as in the paper's Figure 9. Energies of
# other widths are CACTI 7's ratios.

# %%
draw(figure9(bench))
