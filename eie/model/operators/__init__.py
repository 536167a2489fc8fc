"""What stands between weight layers: every operator with all its rules in a file of its own.

Comes in: a node and its input arrays, batch first. Goes out: its output array. EIE does not run these; they decide
which activations the next layer sees. Read by the simulator (numbers), fine-tuning (gradients), the ONNX reader (nodes)
and channel pruning (which channels survive); none of them knows an operator by name. Another operator is another
module here that registers an `Operator`, imported below.

Each module says at its head what its operator takes, with which attributes, and what it gives; defaults in brackets.
"""

from eie.model.operators import (  # noqa: F401 - each registers what it holds
    arithmetic,
    average_pool,
    batch_norm,
    clip,
    concat,
    flatten,
    global_average_pool,
    identity,
    leaky_relu,
    max_pool,
    mean,
    pad,
    relu,
    reshape,
    sigmoid,
    slice,
    softmax,
    squeeze,
    tanh,
    transpose,
    unsqueeze,
)
from eie.model.operators.registry import Operator as Operator
from eie.model.operators.registry import apply as apply
from eie.model.operators.registry import find as find
from eie.model.operators.registry import known as known
from eie.model.operators.registry import onnx_handler as onnx_handler
from eie.model.operators.registry import register as register
from eie.model.operators.registry import stays as stays
