"""Which weights go: scores, masks of every granularity, channels taken out, balance over PEs.

Comes in: layers. Goes out: layers with more zeros or fewer rows. Read by `eie.compression.apply` and studies.
"""
