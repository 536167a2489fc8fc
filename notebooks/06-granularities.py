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
# # Which zeros pay, and where
#
# A network can lose single weights, two of every four, blocks, whole channels or whole layers. "Unstructured pruning
# gives nothing on a GPU", "2:4 gives up to twice", "channels help everywhere": here all of that is run on one network
# and several machines. It starts from a LeNet-300-100 that has not been pruned, trained on Fashion-MNIST.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
from IPython.display import display

import eie

network = eie.load("lenet-300-100-dense")

# %% [markdown]
# Half of the weights, gone in four ways. Black is what is left of the first layer, outputs 0 to 47, inputs 300 to
# 347:

# %%
rules = {
    "fine, half": {"granularity": "fine", "density": 0.5},
    "2:4": {"granularity": "2:4"},
    "4x4 blocks, half": {"granularity": "block", "block": [4, 4], "density": 0.5},
    "channels, half": {"granularity": "channel", "density": 0.5},
}
figure, panels = plt.subplots(1, 4, figsize=(10, 2.9))
for axes, (name, rule) in zip(panels, rules.items(), strict=True):
    if rule["granularity"] == "channel":
        rule["layers"] = "ip[12]"  # the outputs of the last layer are the classes
    pruned, _ = eie.compress(network, {"step": [{"kind": "prune", "rule": [rule]}]})
    weights = pruned.layers[0].weights
    axes.imshow(weights[:48, 300:348] != 0, cmap="Greys", vmin=0, vmax=1)
    axes.set(title=f"{name}\n{weights.shape[0]} x {weights.shape[1]}", xticks=[], yticks=[])

# %% [markdown]
# Without a pattern the matrix keeps its shape and is full of holes. 2:4 has as many holes, at most two in four
# neighbours of a row. Channels are different: the matrix *is* smaller, and the next layer loses the inputs that were
# produced there.
#
# Now each form on each machine. `measured` is the computer this notebook ran on, in numpy (dense) and scipy (CSR):

# %%
study = eie.granularity(network)
study.section("left")

# %%
axes = study.plot(only="granularity-speedup")

# %% [markdown]
# Left, single weights: a dense machine multiplies zeros as patiently as anything else, so its line is flat. A CPU
# that stores the matrix as CSR is *slower* at first, since every weight now needs an index and a gather; where it
# breaks even, few weights in a hundred are left. (What is measured also shows what else the computer did meanwhile.)
# EIE is built for such matrices and gains from the first zero on, until something other than weights takes the time:
# scanning activations, and columns without entries. Hollow: 2:4 is worth something only to EIE and to tensor cores
# that know it.
#
# Right, channels: every line rises. They do not rise alike: a machine that cannot be filled by so small a network
# (the A100 at batch 1) gains least.
#
# And what does it cost in accuracy, before any fine-tuning?

# %%
axes = study.plot(only="granularity-accuracy")

# %% [markdown]
# With as many weights left, single weights are the most accurate, and few machines can use them. That is the trade-off:
# compression against hardware. Among the coarser forms the order is not that of size: not fine-tuned, whole channels
# lose less here than 4x4 blocks. Statements that one reads about pruning, checked on this network:

# %% tags=["measured"]
study.section("claims")

# %% [markdown]
# ## One density for all layers?
#
# Layers are not equally redundant, and not equally expensive. `eie.search` takes a simulated machine's time down step
# by step, each in the layer where it hurts least. It chooses by 500 images and reports on 500 others:

# %%
axes = study.plot(only="search-densities")

# %%
study.section("search")

# %% [markdown]
# The first layer is 89 % of the time, so that is where pruning pays; the last has 1,000 weights, takes 3 %, and its
# ten outputs decide the class: it keeps all of them. At the same latency that is worth four points of accuracy.
# Fine-tuning evens much of it out: docs/granularities.md has both.
#
# ## ResNet-50
#
# The same on ResNet-50's layer shapes, beside the figures that a text on pruning gives. No weights come with them, so
# accuracy is not shown. The GPU is a bound of the A100, which launches nothing. ResNet-50 does not fit the memories of
# 64 PEs: EIE and the dense PEs fetch the rest over the same DRAM, and the table of machines says so.

# %%
resnet = eie.granularity(
    "resnet-50", ["fine:0.9", "2:4", "channel:0.5"], ["dense", "tensor-core", "tensor-core:b64"], samples=1
)
display(resnet.section("costs"), resnet.section("example"))

# %% [markdown]
# Parameters and operations are as printed, but for channels: halving the channels on both sides leaves a quarter of a
# layer, except in the first and the last. The speedups are not: 2:4 halves arithmetic and weights, but a 1x1
# convolution spends its time moving activations, and nobody pruned those. EIE gains four times from single weights,
# since its 3x3 convolutions broadcast every activation once (docs/lowering.md); broadcast anew for each output pixel,
# 2.4 times.
#
# To try it on a network of your own: `eie granularity model.onnx --html report.html`.
