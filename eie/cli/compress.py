"""``eie compress``: follow a recipe, or scan which layers can be pruned, and show the sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eie.cli.help import examples
from eie.cli.options import how_to_read, journal_option, layout_option, model_options
from eie.cli.outputs import check_files, deliver, note, output_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from eie.cli.progress import Progress
    from eie.compression.pruning.sensitivity import Sensitivity
    from eie.compression.recipe import Recipe
    from eie.compression.training.trainer import Trainer
    from eie.model.network import Network
    from eie.show.face import Answer

_CRITERIA = ("magnitude", "l2", "random")


@click.command(
    epilog=examples(
        "eie compress lenet-5-dense --sensitivity --densities 5%,10%,20%",
        "eie compress model.npz recipe.toml -o small.safetensors",
    )
)
@click.argument("model")
@click.argument("recipe", required=False, metavar="[RECIPE.toml]")
@model_options
@click.option("-o", "--output", metavar="FILE", help="Where to write the network: .safetensors, .npz, or coded .eie.")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Accuracy, without labels output error, against density, a layer at a time; no recipe.",
)
@click.option("--densities", metavar="LIST", help="Of --sensitivity, as in 0.05,0.1,0.2 or 5%,10%,20%.")
@click.option("--granularity", metavar="NAME", help="Of --sensitivity: fine (default), N:M, row or column.")
@click.option("--criterion", type=click.Choice(_CRITERIA), help="Of --sensitivity [default: magnitude].")
@click.option(
    "--trace",
    "trace_file",
    metavar="FILE",
    help="Inputs (.npz, .npy), labelled for accuracy, else for output errors.",
)
@click.option("--data", metavar="FOLDER", help="IDX data set to train and to measure accuracy on; needs PyTorch.")
@click.option("--samples", type=click.IntRange(1), help="Use the first samples of the trace only.")
@layout_option
@journal_option
@output_options
def compress(model: str, recipe: str | None, **options: Any) -> None:
    """Compress MODEL by RECIPE.toml and print what each layer takes.

    -o NET.eie writes a coded file of the size that the last column counts. Without a recipe: the sizes of MODEL as it
    stands (and -o NET.eie), or with --sensitivity how far each layer can be pruned; --layers then also says which are
    scanned. Recipes that fine-tune, or prune by gradients, need --data: a folder with the four files of MNIST or its
    successors.
    """
    from eie.cli.inputs import chosen_layers, labelled_network, stderr, trainer_on
    from eie.cli.progress import Progress
    from eie.compression.recipe import load_recipe

    _check(model, recipe, options)
    check_files(options, model, recipe)
    pattern, how = chosen_layers(model, options) if options["sensitivity"] else ("*", how_to_read(options))
    # Declared once: the branches give different answers of one kind.
    answer: Answer
    written = ""
    with Progress(stderr()) as progress:
        progress.stage(f"reading {model}")
        network = labelled_network(
            model=model,
            trace_file=options["trace_file"],
            how=how,
            samples=options["samples"],
            layout=options["layout"],
        )
        steps = None if recipe is None else load_recipe(recipe)
        # Before the answer: a missing data set is told before any pruning.
        trainer = trainer_on(options["data"], progress, None if steps is None else steps.training)
        evaluate = _evaluator(network, options) if trainer is None else trainer.accuracy
        if options["sensitivity"]:
            answer = _scan(
                network=network, accuracy=evaluate, progress=progress, options={**options, "layers": pattern}
            )
        else:
            answer, written = _compress(
                network=network,
                recipe=steps,
                trainer=trainer,
                evaluate=evaluate,
                progress=progress,
                output=options["output"],
                journal=options["journal"],
            )
    deliver(answer, options)
    if written:
        note(written)


def _check(model: str, recipe: str | None, options: dict[str, Any]) -> None:
    from eie.importers import takes

    if options["sensitivity"] and recipe is not None:
        raise click.UsageError("--sensitivity scans MODEL itself: give no recipe")
    if options["data"] and (options["trace_file"] or options["samples"]):
        raise click.UsageError("--data measures on its own test images: give no --trace or --samples")
    # A coded file changes nothing, it is a way to store MODEL as it stands.
    if options["output"] and recipe is None and (options["sensitivity"] or not _is_coded(options["output"])):
        raise click.UsageError("-o needs a recipe: without one nothing is changed")
    if not options["sensitivity"]:
        misplaced = [name for name in ("densities", "granularity", "criterion") if options[name]]
        # Of a state dict it says what is a layer, of any other model only which layers are scanned.
        if options["layers"] and not takes(model, "layers"):
            misplaced.append("layers")
        if misplaced:
            raise click.UsageError(f"--{misplaced[0]} belongs to --sensitivity")


def _evaluator(network: Network, options: dict[str, Any]) -> Callable[[Network], float] | None:
    """Return what measures accuracy on the network's own labelled inputs, or None if it has none."""
    from eie.errors import TraceError
    from eie.results.accuracy import float32_accuracy

    # Tried once on the whole network: it says whether there are labels, values and a dataflow.
    if float32_accuracy(network) is None:
        # A scan goes by the error of the outputs instead.
        if options["trace_file"] and not options["sensitivity"]:
            raise TraceError(
                f"{options['trace_file'] or network.source}: accuracy needs labelled inputs, with values, of a network "
                "whose layers feed each other"
            )
        return None
    # It was not None before, and pruning takes away none of what it needs; 0.0 is for the type checker.
    return lambda changed: float32_accuracy(changed) or 0.0


def _errors(network: Network, options: dict[str, Any]) -> Callable[[Network], float]:
    """Return what measures output errors on the network's own inputs, which nobody has labelled."""
    from eie.errors import TraceError
    from eie.results.accuracy import INPUTS_NEEDED, given_samples
    from eie.results.output_error import OutputError

    samples = given_samples(network)
    if samples is None:
        raise TraceError(
            f"{options['trace_file'] or network.source}: a scan needs inputs, with values, of a network whose layers "
            f"feed each other (--trace): {INPUTS_NEEDED}"
        )
    return OutputError.of(network, samples)


def _scan(
    network: Network, accuracy: Callable[[Network], float] | None, progress: Progress, options: dict[str, Any]
) -> Sensitivity:
    from eie.compression.pruning.sensitivity import DENSITIES, scan
    from eie.formats.shares import share_of
    from eie.model.digest import network_digest
    from eie.sweeps.steps import keeping

    evaluate = _errors(network, options) if accuracy is None else accuracy
    densities: tuple[float, ...] = DENSITIES
    if options["densities"]:
        try:
            # Only the words are read here; the scan itself bounds the numbers.
            densities = tuple(share_of(word) for word in options["densities"].split(","))
        except ValueError:
            raise click.UsageError(
                f"--densities {options['densities']}: must be numbers, as in 0.05,0.1 or 5%,10%"
            ) from None
    asked = [options[name] for name in ("granularity", "criterion", "layers", "data")]
    command = {"scan": network_digest(network), "asked": [*asked, densities, accuracy is None]}
    with keeping(options["journal"], command) as steps:
        return scan(
            network,
            steps.each("scan", evaluate),
            densities,
            granularity=options["granularity"] or "fine",
            criterion=options["criterion"] or "magnitude",
            measure="relative_output_error" if accuracy is None else "accuracy",
            layers=options["layers"],
            progress=progress.stage,
        )


def _compress(
    network: Network,
    recipe: Recipe | None,
    trainer: Trainer | None,
    evaluate: Callable[[Network], float] | None,
    progress: Progress,
    output: str | None,
    journal: str | None,
) -> tuple[Answer, str]:
    """Follow the recipe, if any, and write the network; the second value says what a coded file came to."""
    from eie.compression.coding.size import size_report
    from eie.importers.stored import save
    from eie.studies.compress import compress as follow

    if recipe is None:
        sizes, order, index_bits = size_report(network), None, None
        answer: Answer = sizes
    else:
        network, report = follow(network, recipe, trainer, evaluate=evaluate, progress=progress.stage, journal=journal)
        answer, sizes, order = report, report.sizes, report.output_order
        # The table counts indices of the recipe's widths; the file has to be of the same ones to be of that size.
        index_bits = report.recipe.index_bits if output is not None and _is_coded(output) else None
    if output is None:
        return answer, ""
    progress.stage(f"writing {output}")
    # Of what was measured: sizes and file are of the same network.
    save(network, output, order, index_bits=index_bits)
    return answer, _file_line(output, sizes.total.huffman_bytes) if _is_coded(output) else ""


def _is_coded(output: str) -> bool:
    return Path(output).suffix == ".eie"


def _file_line(output: str, counted_bytes: int) -> str:
    written = Path(output).stat().st_size
    return (
        f"{output}: {written:,} bytes, {100 * (written / counted_bytes - 1):+.1f} % of the P+Q+H column's "
        f"{counted_bytes:,}: names, shapes and graph are in the file too"
    )
