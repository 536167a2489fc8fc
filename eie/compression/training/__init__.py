"""Fine-tuning pruned networks with PyTorch (extra ``torch``).

Comes in: a `Network` and labelled examples. Goes out: trained weights. Read by `eie.compression.apply` and studies.
"""
