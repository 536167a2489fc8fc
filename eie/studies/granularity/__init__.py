"""Which zeros pay on which machine: a network pruned in many ways, run on many machines, and what is said of that.

Comes in: a `Network`. Goes out: a `GranularityStudy`. Called as ``eie.granularity`` and by ``eie granularity``.
"""
