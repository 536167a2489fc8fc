"""Why a network takes the time it takes, and what to change.

Comes in: a model, or a result of an earlier run. Goes out: an `Explanation`. Called as ``eie.explain`` and by
``eie explain``.
"""
