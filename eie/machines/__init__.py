"""Machines to compare with, one module each; all of them return one record, `records.Baseline`.

`workload` says what is to be run; `dense`, `systolic`, `tensor_core`, `roofline` model a machine, `measured` runs the
layers on this one, `published` holds the paper's figures, `reports` and `scalesim` read what other tools wrote;
`choose` finds any of them by name.
"""
