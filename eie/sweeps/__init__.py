"""The same path over many machines: `vary` (which), `plan` (points), `stages` (what is redone), `run`.

Comes in: models, spec fields with their values. Goes out: a `SweepResult`. Read by the report's figures and the command
line. `journal` makes a sweep resumable, `workers` spreads it over threads or a Dask cluster, `search` picks the points
where a grid would be too large.
"""
