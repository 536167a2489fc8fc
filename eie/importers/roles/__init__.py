"""What each array of a state dict is: a layer, part of a layer, or neither.

Comes in: plain named arrays, as `eie.importers.state_dict` read them. Goes out: a `Reading`, a decision for each array
and a `Plan` for each layer. Read by `eie.importers.tensors`, which builds the layers.

The order, a file each: `prefixes` takes wrappers off the names, `neither` and `embeddings` know what is no layer,
`families` which part of which layer an array is, `groups` joins the parts, `kernels` and `orientation` say how they
are stored, `norms` which batch normalisation follows which layer, `chain` whether one layer feeds the next. No decision
depends on the order of the arrays.
"""
