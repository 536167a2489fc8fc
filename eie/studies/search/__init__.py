"""How far to prune each layer to meet a latency or energy budget.

Comes in: a labelled `Network` and a budget. Goes out: a `Search`. Called as ``eie.search`` and by ``eie search``.
"""
