"""How each kind of layer becomes matrix-vector products, and how their results fold back: a file a kind.

Comes in: shapes. Goes out: frozen geometries that all answer the same questions, see `protocol`. Read by networks, the
compiler, the simulator, recording and compression; none of them asks which kind it has. docs/lowering.md has the
picture. Another kind of layer is another module here, imported below.
"""

from eie.model.geometry.conv2d import Conv2d as Conv2d
from eie.model.geometry.conv3d import Conv3d as Conv3d
from eie.model.geometry.dense_form import DenseForm as DenseForm
from eie.model.geometry.gru import Gru as Gru
from eie.model.geometry.linear import LINEAR as LINEAR
from eie.model.geometry.linear import Linear as Linear
from eie.model.geometry.lstm import GATES as GATES
from eie.model.geometry.lstm import Lstm as Lstm
from eie.model.geometry.protocol import LARGEST_SIZE as LARGEST_SIZE
from eie.model.geometry.protocol import Alternative as Alternative
from eie.model.geometry.protocol import Geometry as Geometry
from eie.model.geometry.protocol import Recurrent as Recurrent
from eie.model.geometry.protocol import Walk as Walk
from eie.model.geometry.registry import describe as describe
from eie.model.geometry.registry import from_description as from_description
from eie.model.geometry.registry import kind_of_record as kind_of_record
from eie.model.geometry.registry import lowering as lowering
from eie.model.geometry.registry import register as register
from eie.model.geometry.rnn import Rnn as Rnn
from eie.model.geometry.scatter import Scatter as Scatter
from eie.model.geometry.scatter import Visit as Visit
from eie.model.geometry.transposed import ConvTranspose2d as ConvTranspose2d
from eie.model.geometry.winograd import Winograd as Winograd
