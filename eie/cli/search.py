"""``eie search``: how far to prune each layer so that a machine meets a budget at the least loss."""

from __future__ import annotations

from typing import Any

import click

from eie.cli.help import examples
from eie.cli.options import journal_option, study_options
from eie.cli.outputs import deliver, output_options


@click.command(
    epilog=examples(
        "eie search lenet-300-100-dense --latency-budget 50%",
        "eie search lenet-5-dense --energy-budget 0.5x --recipe recipe.toml",
    )
)
@click.argument("model")
@click.option(
    "--latency-budget", "latency", metavar="LIMIT", help="A share of the unpruned, as 0.5x or 50%, or 120us, 1.5ms."
)
@click.option(
    "--energy-budget", "energy", metavar="LIMIT", help="A share of the unpruned, as 0.5x or 50%, or 300nJ, 2uJ."
)
@click.option(
    "--machine", default="eie", show_default=True, metavar="NAME", help="EIE, or a modelled machine of eie compare."
)
@click.option(
    "--granularity",
    type=click.Choice(["fine", "channel"]),
    help="What is pruned [default: fine on EIE and with CSR, channel elsewhere].",
)
@click.option(
    "--method",
    type=click.Choice(["greedy", "optuna"]),
    default="greedy",
    show_default=True,
    help="How to look; optuna needs the dse extra.",
)
@click.option("--trials", type=click.IntRange(1), help="Proposals of optuna [default: 100].")
@click.option(
    "--samples", type=click.IntRange(1), default=8, show_default=True, help="Samples that time and energy are those of."
)
@study_options
@journal_option
@output_options
@click.option("-o", "--output", metavar="FILE", help="Where to write the pruned network: .safetensors or .npz.")
@click.option("--recipe", "recipe_file", metavar="FILE.toml", help="Write the densities as a recipe of eie compress.")
def search(model: str, **options: Any) -> None:
    """Find how far each layer of MODEL can be pruned so that a machine meets a budget at the least loss.

    The same density for every layer at the same cost stands beside it. Choices go by one part of the labelled samples,
    accuracy is reported on the rest. --layers also says which layers may be pruned.
    """
    from eie.cli.inputs import announce_compilation, check_study, chosen_layers, stderr, study_inputs
    from eie.cli.progress import Progress
    from eie.importers.stored import save
    from eie.show.writing import write_text
    from eie.studies.search.search import TRIALS
    from eie.studies.search.search import search as look

    # Both or neither: the search follows one budget.
    if (options["latency"] is None) == (options["energy"] is None):
        raise click.UsageError("give --latency-budget or --energy-budget, one of them")
    if options["trials"] is not None and options["method"] != "optuna":
        raise click.UsageError("--trials belongs to --method optuna")
    check_study(model, options)
    announce_compilation()
    with Progress(stderr(), lines=True) as progress:
        layers, reading = chosen_layers(model, options)
        network, how = study_inputs(model, options, progress, how=reading)
        answer = look(
            network,
            # Under the names of the function's own parameters.
            **{name: options[name] for name in (
                "latency", "energy", "machine", "granularity", "samples", "method", "journal",
            )},
            layers=layers,
            # None until here, so that --trials without optuna can be told from the default.
            trials=options["trials"] or TRIALS,
            **how,
            progress=progress.stage,
        )  # fmt: skip
        # Files before the table: what took long is safe if standard output fails.
        if options["output"]:
            save(answer.found.network, options["output"])
        if options["recipe_file"]:
            write_text(options["recipe_file"], answer.recipe_toml())
    deliver(answer, options)
