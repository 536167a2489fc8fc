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
import numpy as np

import eie
from eie.plots.paper import draw, lines
from eie.plots.result import pe_cycles
from eie.show.sections import Curves
from eie.studies.paper.bench import Bench, find_fc8
from eie.studies.paper.masks import Spread, measure
from eie.studies.paper.masks import draw as draw_mask
from eie.studies.paper.scaling import DEPTHS, figure8

bench = Bench(find_fc8())
draw(figure8(bench))

# %% [markdown]
# Eight slots bring most of what queues can bring, on all nine layers of the paper's benchmark. What is left beyond is
# the second kind of imbalance, and NT-We: 600 rows on 64 PEs leave less than one weight for a PE in a column, and an
# empty column costs a cycle too.
#
# ## Real layers are less even than random ones
#
# Compare, on the shape of AlexNet's last layer (1000 x 4096, a quarter of the weights kept): weights kept at random;
# weights as uneven from row to row as magnitude pruning really leaves them; the real layer, if its data is at hand
# (`EIE_FC8`). Then two remedies. **Sorted rows**: deal the rows out by their number of weights, fullest first, back
# and forth, so that each PE gets its share of full ones. **Balanced pruning**: choose the weights so that every PE
# keeps the same number in every column.

# %%
spec, columns = eie.EIE_64PE, 4096
rng = np.random.default_rng(0)
active = rng.random(columns) < 0.43
masks = {}
for name, row_cv in (("random", 0), ("as pruned", 0.13)):
    drawn = draw_mask(rows=1000, columns=columns, density=0.257, spread=Spread(row_cv, 0.08, name), rng=rng).dense()
    masks[name] = np.pad(drawn, ((0, 24), (0, 0)))  # whole hands of 64 rows
order = masks["as pruned"].sum(axis=1).argsort()[::-1].reshape(-1, 64)
order[1::2] = order[1::2, ::-1]
masks["rows sorted"] = masks["as pruned"][order.ravel()]
masks["balanced"] = rng.random((16, 64, columns)).argsort(axis=0).reshape(1024, columns) < 4


def run(layer, activations, depth=8):
    return eie.simulate(eie.compile(layer, spec.replace(act_queue_depth=depth)), activations).layers[0]


jobs = {name: (eie.Layer.from_weights(name, mask), active) for name, mask in masks.items()}
if bench.fc8 is not None:
    real = bench.workload("Alex-8", "real")
    jobs["real fc8"] = (real.layer, real.inputs.dense()[0])
series = {name: tuple(run(*job, depth).efficiency for depth in DEPTHS) for name, job in jobs.items()}
lines(
    Curves(x_label="FIFO depth (slots)", x=DEPTHS, y_label="load-balance efficiency", series=series),
    "What evens out the load",
)

# %% [markdown]
# The real layer and the masks made as uneven as it run alike; random masks promise too much. Sorting the rows costs
# nothing at run time (only the order of the outputs changes) and takes the total imbalance away, so that deep queues
# reach more than on random masks. Balanced pruning removes both kinds: two slots are enough. It restricts which weights
# may stay, which costs accuracy or density.
#
# ## Where the cycles go
#
# At depth 2 every PE waits (*starved*), even the fullest: a PE that is slow in one column blocks the next broadcast for
# all. At depth 8 the waiting that is left follows the total: the fullest PE hardly waits, the emptiest waits most. With
# sorted rows all are about as full.

# %%
pe_cycles(run(*jobs["as pruned"], depth=2))

# %%
pe_cycles(run(*jobs["as pruned"]))

# %%
pe_cycles(run(*jobs["rows sorted"]))

# %% [markdown]
# How uneven is *uneven*? The coefficient of variation of the non-zeros a row, less what chance alone would give, for
# the shipped LeNet:

# %%
for layer in eie.load("lenet-300-100").layers:
    kept_share, row_cv, column_cv = measure(layer.matrix)
    print(f"{layer.name}: {kept_share:.0%} kept, rows {row_cv:.0%}, columns {column_cv:.0%}")
