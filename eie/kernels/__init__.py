"""The compiled inner loops: numpy arrays and integers in, arrays that were passed in filled out.

Nothing here knows a layer, a spec or an error; nothing is raised. Callers validate, unpack, call and wrap.
`timing` counts cycles, `encode` builds the per-PE images, `datapath` computes the numbers, `columns` compresses
dense arrays, `cluster` shares weights. `jit` decides where compiled code is kept.
"""
