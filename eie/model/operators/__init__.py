"""What stands between weight layers: every operator with all its rules in a file of its own.

Comes in: a node and its input arrays, batch first. Goes out: its output array. EIE does not run these; they decide
which activations the next layer sees. Read by the simulator (numbers), fine-tuning (gradients), the ONNX reader (nodes)
and channel pruning (which channels survive); none of them knows an operator by name. Another operator is another
module here that registers an `Operator`, imported below.

======================= ===================================================================================
``relu sigmoid tanh``   elementwise
``leaky_relu``          ``slope`` (0.01)
``clip``                ``low``, ``high`` (either may be absent); ReLU6 is 0 and 6
``max_pool``            ``kernel``, ``stride`` (= kernel), ``pads`` (top, left, bottom, right), ``dilation``, ``ceil``
``average_pool``        the same, and ``count_pads`` (False)
``global_average_pool`` (N, C, H, W) to (N, C, 1, 1)
``mean``                ``axes``, ``keep`` (False)
``flatten``             ``axis`` (1)
``reshape``             ``shape`` of the whole tensor; 0 keeps a size, -1 is inferred (write the batch as 0 or -1)
``transpose``           ``axes``
``squeeze unsqueeze``   ``axes``
``slice``               ``axis``, ``start``, ``stop``, ``step`` (1)
``concat``              ``axis``
``add sub mul div``     two inputs, broadcast
``softmax``             ``axis`` (-1)
``batch_norm``          inputs x, scale, bias, mean, variance; ``epsilon`` (1e-5)
``pad``                 ``pads`` (one (before, after) pair an axis), ``value`` (0)
``identity dropout``    nothing
======================= ===================================================================================
"""

from eie.model.operators import (
    arithmetic as arithmetic,
)
from eie.model.operators import (
    average_pool as average_pool,
)
from eie.model.operators import (
    batch_norm as batch_norm,
)
from eie.model.operators import (
    clip as clip,
)
from eie.model.operators import (
    concat as concat,
)
from eie.model.operators import (
    flatten as flatten,
)
from eie.model.operators import (
    global_average_pool as global_average_pool,
)
from eie.model.operators import (
    identity as identity,
)
from eie.model.operators import (
    leaky_relu as leaky_relu,
)
from eie.model.operators import (
    max_pool as max_pool,
)
from eie.model.operators import (
    mean as mean,
)
from eie.model.operators import (
    pad as pad,
)
from eie.model.operators import (
    relu as relu,
)
from eie.model.operators import (
    reshape as reshape,
)
from eie.model.operators import (
    sigmoid as sigmoid,
)
from eie.model.operators import (
    slice as slice,
)
from eie.model.operators import (
    softmax as softmax,
)
from eie.model.operators import (
    squeeze as squeeze,
)
from eie.model.operators import (
    tanh as tanh,
)
from eie.model.operators import (
    transpose as transpose,
)
from eie.model.operators import (
    unsqueeze as unsqueeze,
)
from eie.model.operators.registry import Operator as Operator
from eie.model.operators.registry import apply as apply
from eie.model.operators.registry import find as find
from eie.model.operators.registry import known as known
from eie.model.operators.registry import onnx_handler as onnx_handler
from eie.model.operators.registry import register as register
