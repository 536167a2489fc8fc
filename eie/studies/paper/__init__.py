"""The EIE paper, table by table and figure by figure: what it printed beside what this simulator finds.

`published` (facts, as data) and `masks` (what real pruned layers look like) feed `bench` (the nine layers, simulated
once and shared); the table and figure modules make a `Section` of each; `reproduce` runs them in order; `text`, `page`
and `figures` show them.
"""
