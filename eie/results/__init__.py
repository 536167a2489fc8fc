"""What a user gets back: a simulated network, its layers, comparisons and sizes.

Comes in: programs and activities. Goes out: frozen answers with tables, records and files. Read by the verbs above.
"""
