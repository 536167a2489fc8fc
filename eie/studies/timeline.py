"""A model run and told cycle by cycle in one call: ``eie.timeline``.

Comes in: a result, or what `eie.simulate` takes. Goes out: an `eie.Timeline`.
"""

from __future__ import annotations

from eie.compiler.program import Program
from eie.formats.arguments import taken
from eie.importers.entrance import Model
from eie.results.result import Result
from eie.results.timeline import Timeline
from eie.results.told import LIMIT
from eie.simulation import simulate
from eie.simulator.inputs import Inputs
from eie.spec import AcceleratorSpec


@taken
def timeline(
    model: Result | Program | Model,
    activations: Inputs = None,
    *,
    spec: AcceleratorSpec | None = None,
    batch: int = 1,
    cycles: range | None = None,
    pes: range | None = None,
    limit: int = LIMIT,
) -> Timeline:
    """Run a model and tell what every PE did in every cycle.

    Parameters
    ----------
    model
        As of `eie.simulate`; or a result of it, which is not run again.
    activations, spec, batch
        As of `eie.simulate`, where the model is run.
    cycles, pes, limit
        What of it is told, as of `Result.timeline`.

    Returns
    -------
    Timeline
        Its ``save("out.json")`` writes a file that Perfetto opens, ``plot()`` draws it.

    Raises
    ------
    EieError
        As `eie.simulate` and `Result.timeline`.
    """
    if not isinstance(model, Result):
        model = simulate(model, activations, spec=spec, batch=batch, keep_outputs=False, keep_patterns=True)
    return model.timeline(cycles=cycles, pes=pes, limit=limit)
