"""``eie granularity``: one network pruned at several granularities, on several machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eie.cli.help import examples
from eie.cli.options import journal_option, study_options
from eie.cli.outputs import deliver, output_options

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    epilog=examples(
        "eie granularity lenet-300-100-dense --html granularity.html",
        "eie granularity lenet-5-dense --variant fine:90%,2:4,channel:50%",
    )
)
@click.argument("model")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="LIST",
    help="Ways to prune, commas between them: fine:0.9 (or fine:90%), 2:4, block4x4:0.8, channel:0.5, layer:0.5 "
    "[default: fifteen].",
)
@click.option(
    "--machine",
    "machines",
    multiple=True,
    metavar="NAME",
    help="A machine besides EIE, named as for eie compare; repeatable [default: dense, systolic:32x32:ws, tensor-core, "
    "tensor-core:b64, measured:dense and, with scipy, measured:csr].",
)
@click.option(
    "--samples", type=click.IntRange(1), default=16, show_default=True, help="Of the trace, for EIE's time and energy."
)
@click.option("--no-search", is_flag=True, help="Leave uniform against non-uniform pruning out (eie search).")
@study_options
@journal_option
@output_options
def granularity(model: str, **options: Any) -> None:
    """Prune MODEL fine-grained, 2:4, by blocks, channels and layers: size, time, energy and accuracy on each machine.

    Start from a network that is not pruned yet (lenet-300-100-dense, lenet-5-dense, resnet-50). What is said of
    granularities is checked on it: pass, FAIL or not shown. measured machines are this computer.
    """
    from eie.cli.inputs import announce_compilation, check_study, stderr, study_inputs
    from eie.cli.progress import Progress
    from eie.studies.granularity.study import granularity as study_of
    from eie.studies.granularity.variants import DEFAULT as VARIANTS

    check_study(model, options)
    announce_compilation()
    with Progress(stderr(), lines=True) as progress:
        network, how = study_inputs(model, options, progress)
        study = study_of(
            network,
            _words(options["variants"]) or VARIANTS,
            options["machines"] or None,
            samples=options["samples"],
            with_search=not options["no_search"],
            journal=options["journal"],
            progress=progress.stage,
            # Spec, trainer and epochs, as `study_inputs` reads them for both studies.
            **how,
        )
    deliver(study, options)


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    # Both repeated options and lists with commas; a variant such as block4x4:0.8 holds none itself.
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
