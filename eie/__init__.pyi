# What callers need, and from where: the one list. Type checkers read it as it stands, `__init__.py` takes names and
# homes from it. A test sees that whatever a public function or class takes or returns is here. As in every stub, what
# is imported "as" itself is public; the few that go by another name stand below.
from eie.activity import Account as Account
from eie.activity import Activity as Activity
from eie.compiler.encode import Encoding as Encoding
from eie.compiler.encode import RowTable as RowTable
from eie.compiler.encoded import EncodedLayer as EncodedLayer
from eie.compiler.map_rows import LayerMaps as LayerMaps
from eie.compiler.map_rows import MapPlan as MapPlan
from eie.compiler.map_rows import PlacedMap as PlacedMap
from eie.compiler.passes import Fit as Fit
from eie.compiler.places import LayerPlace as LayerPlace
from eie.compiler.places import MemoryPlan as MemoryPlan
from eie.compiler.places import MemoryRow as MemoryRow
from eie.compiler.program import Program as Program
from eie.compiler.program import compile as compile
from eie.compression.coding.sizes import Published
from eie.compression.coding.sizes import Size as Size
from eie.compression.coding.sizes import SizeReport as SizeReport
from eie.compression.pruning.sensitivity import Sensitivity as Sensitivity
from eie.compression.pruning.sensitivity import SensitivityPoint as SensitivityPoint
from eie.compression.recipe import FinetuneStep as FinetuneStep
from eie.compression.recipe import PermuteStep as PermuteStep
from eie.compression.recipe import PruneRule as PruneRule
from eie.compression.recipe import PruneStep as PruneStep
from eie.compression.recipe import Recipe as Recipe
from eie.compression.recipe import ShareRule as ShareRule
from eie.compression.recipe import ShareStep as ShareStep
from eie.compression.recipe import Training as Training
from eie.compression.recipe import load_recipe as load_recipe
from eie.compression.report import CompressionReport as CompressionReport
from eie.compression.report import StepRecord as StepRecord
from eie.compression.share import ShareReport as ShareReport
from eie.compression.training.dataset import FASHION_MNIST as FASHION_MNIST
from eie.compression.training.dataset import idx_examples as idx_examples
from eie.compression.training.finetune import Trainer as DataTrainer
from eie.compression.training.trainer import Trainer as Trainer
from eie.energy.area import Area as Area
from eie.energy.area import area as area
from eie.energy.estimate import Estimate as Estimate
from eie.errors import EieError as EieError
from eie.formats.answers import Document as Document
from eie.formats.answers import read_answer as read_answer
from eie.importers import load as load
from eie.importers.stored import save as save
from eie.importers.torch_module import from_torch as from_torch
from eie.machines.records import Baseline as Baseline
from eie.machines.records import LayerCost as LayerCost
from eie.machines.records import Machine as Machine
from eie.machines.rows import ResultRow as ResultRow
from eie.machines.rows import ResultRows as ResultRows
from eie.model.geometry import Conv2d as Conv2d
from eie.model.geometry import Conv3d as Conv3d
from eie.model.geometry import ConvTranspose2d as ConvTranspose2d
from eie.model.geometry import Geometry as Geometry
from eie.model.geometry import Gru as Gru
from eie.model.geometry import Lstm as Lstm
from eie.model.geometry import Recurrent as Recurrent
from eie.model.geometry import Rnn as Rnn
from eie.model.geometry import Scatter as Scatter
from eie.model.geometry import Visit as Visit
from eie.model.geometry import Walk as Walk
from eie.model.geometry import Winograd as Winograd
from eie.model.graph import Graph as Graph
from eie.model.graph import Node as Node
from eie.model.host import HostWork as HostWork
from eie.model.matrix import SparseColumns as SparseColumns
from eie.model.network import Layer as Layer
from eie.model.network import Network as Network
from eie.model.samples import Lazy as Lazy
from eie.model.samples import Readable as Readable
from eie.model.samples import Samples as Samples
from eie.model.trace import LayerTrace as LayerTrace
from eie.model.trace import Trace as Trace
from eie.recording.inputs import read_samples as read_samples
from eie.recording.preprocess import Preprocess as Preprocess
from eie.recording.record import record as record
from eie.recording.run_torch import record_torch as record_torch
from eie.results.beside import Transfer as Transfer
from eie.results.comparison import Column as Column
from eie.results.comparison import Comparison as Comparison
from eie.results.layer import Distribution as Distribution
from eie.results.layer import LayerResult as LayerResult
from eie.results.priced import Energy as Energy
from eie.results.result import Accuracy as Accuracy
from eie.results.result import Result as Result
from eie.results.timeline import Timeline as Timeline
from eie.rtl.check import CheckedLayer as CheckedLayer
from eie.rtl.check import RtlCheck as RtlCheck
from eie.rtl.check import check_rtl as check_rtl
from eie.rtl.write import write_rtl as write_rtl
from eie.show.face import Answer as Answer
from eie.show.face import View as View
from eie.show.sections import Column as TableColumn
from eie.show.sections import Curves as Curves
from eie.show.sections import Grid as Grid
from eie.show.sections import Section as Section
from eie.show.sections import Statement as Statement
from eie.simulation import simulate as simulate
from eie.simulator.functional import FixedPoint as FixedPoint
from eie.simulator.functional import LayerOutputs as LayerOutputs
from eie.spec import EIE_64PE as EIE_64PE
from eie.spec import EIE_256PE as EIE_256PE
from eie.spec import AcceleratorSpec as AcceleratorSpec
from eie.spec import load_spec as load_spec
from eie.studies.compare import compare as compare
from eie.studies.compress import compress as compress
from eie.studies.granularity.answer import GranularityStudy as GranularityStudy
from eie.studies.granularity.rows import Row
from eie.studies.granularity.study import granularity as granularity
from eie.studies.granularity.variants import Variant as Variant
from eie.studies.paper.reproduce import Paper as Paper
from eie.studies.paper.reproduce import reproduce
from eie.studies.search.answer import Plan as Plan
from eie.studies.search.answer import Search as Search
from eie.studies.search.judge import Score as Score
from eie.studies.search.search import search as search
from eie.studies.timeline import timeline as timeline
from eie.sweeps.result import SweepResult as SweepResult
from eie.sweeps.run import sweep as sweep
from eie.version import __version__ as __version__

GranularityRow = Row
PublishedSize = Published
SectionColumn = TableColumn
TorchTrainer = DataTrainer
paper = reproduce
