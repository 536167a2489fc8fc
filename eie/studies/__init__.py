"""Questions answered by running a network in many forms: which granularity pays where, and how far to prune each layer.

Comes in: a `Network`. Goes out: studies: records, text, pictures. Called by users as ``eie.granularity`` and
``eie.search``, by the command line and by notebooks.
"""
