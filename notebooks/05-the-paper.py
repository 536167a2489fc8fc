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
# # The paper in one notebook
#
# Every table and figure of Han et al., *EIE: Efficient Inference Engine on Compressed Deep Neural Network* (ISCA
# 2016), ours beside what was printed. The same as `eie paper --html paper.html`; docs/validation.md explains every
# deviation above 5 %.
#
# Weights of only one of the nine layers are public. The others are drawn: from the printed shapes and densities, once
# at random and once as uneven as magnitude pruning left real layers of the same kind: columns of those that read a
# feature map (Alex-6, VGG-6) are three to four times more uneven than of those that read a vector. Set `EIE_FC8` to
# the file with AlexNet fc8's data to run that layer on the real thing.
#
# Not every cell that agrees is evidence. A letter says what each is: (p) *predicted*, (c) *calibrated*, fitted to the
# printed figure, (b) *by construction*, it went in as it comes out, or (t) *textual claim only*, where the paper draws
# a curve and prints no values.

# %%
import os

from IPython.display import display

import eie

paper = eie.paper(fc8=os.environ.get("EIE_FC8"))


def show(*names):
    for name in names:
        display(paper.section(name))


print(paper.data, paper.claims(), sep="\n\n")

# %% [markdown]
# ## What the machine is: Tables II and III
#
# 64 PEs of 0.64 mm2, three quarters of it the SRAM that holds the weights. The benchmark: nine fully connected layers
# from AlexNet, VGG-16 and NeuralTalk, of which pruning left 4 to 25 %, and whose inputs are 18 to 100 % non-zero.

# %%
show("table2", "table3")

# %% [markdown]
# ## How fast it is: Table IV
#
# *Theoretical* is the number of stored entries in active columns over 64; it tests the densities and the padding.
# *Actual* over theoretical tests the cycle model and the masks' unevenness; the unknown densities cancel. Where the
# printed theoretical time is outside what Table III's rounding allows, the run behind it had other densities than the
# table says, as on Alex-8, where the real data settles it.

# %%
show("table4")

# %% [markdown]
# ## What that buys: Table V, Figures 6 and 7

# %%
show("table5", "figure6", "figure7")

# %% [markdown]
# ## Design choices: queue depth, SRAM width, precision
#
# Figure 9 is the one claim that depends on what is counted: if a PE holds the SRAM row it read last, the widest rows
# take the least energy; if every column fetches its rows anew, 64 bits are the optimum with one of CACTI's cells, as in
# the paper, and 9 % above that of 32 bits with the other.

# %%
show("figure8", "figure9", "figure10")

# %% [markdown]
# ## Scaling: Figures 11 to 13
#
# More PEs mean shorter columns in each: less padding (good), fewer entries to average over (bad). Small matrices run
# out of work first.

# %%
show("figure11", "figure12", "figure13")

# %% [markdown]
# ## Where the paper contradicts itself
#
# A simulator has to take a side. Both readings, in numbers:

# %%
show("contradictions")
