"""``eie explain``: what binds each layer, and what to change."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eie.cli.help import examples
from eie.cli.options import bias_option, conv_option, layout_option, model_options, spec_options
from eie.cli.outputs import check_files, deliver, output_options

if TYPE_CHECKING:
    from eie.cli.progress import Progress
    from eie.model.network import Network
    from eie.simulator.inputs import Inputs
    from eie.studies.explain.answer import Explanation

# Of a result these are its own.
OF_THE_RESULT = {"spec_name": "--spec", "overrides": "--set", "batch": "--batch"}


@click.command(epilog=examples("eie explain lenet-300-100", "eie explain model.onnx --trace trace.npz --for latency"))
@click.argument("model")
@click.option(
    "--for",
    "objective",
    type=click.Choice(["edp", "latency", "energy", "area"]),
    default="edp",
    show_default=True,
    help="What advice is ranked by; edp: energy x delay.",
)
@click.option("--model", "of", metavar="MODEL", help="The model of RESULT.json, where it is not found by its hash.")
@spec_options
@model_options
@click.option("--trace", "trace_file", metavar="FILE", help="Activations (.npz, .npy) [default: the model's own].")
@layout_option
@click.option("--samples", type=click.IntRange(1), help="Use the first samples of the trace only.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="B",
    help="Samples that go through a layer before the next.",
)
@conv_option
@bias_option
@click.option(
    "--sram-cell",
    type=click.Choice(["itrs-lop", "itrs-lstp"]),
    default="itrs-lop",
    show_default=True,
    help="CACTI cell that scales SRAM energy and area to other sizes.",
)
@click.option("--threads", type=click.IntRange(1), help="Worker threads of the first run [default: all cores].")
@output_options
def explain(model: str, **options: Any) -> None:
    """Say what binds each layer of MODEL and by how much, then what to change, best first.

    MODEL is what eie run takes, or the RESULT.json that it wrote. A result alone gives what binds it; advice needs its
    model, which is found where the result says, by its hash, or named with --model. Every change that is named was run.

    \b
    eie explain lenet-300-100
    eie explain model.onnx --trace images.npy --for latency
    eie explain result.json --model model.onnx
    """
    from eie.cli.inputs import announce_compilation, stderr
    from eie.cli.progress import Progress

    check_files(options, model, options["of"])
    # Only words of this command line go before what a result says of its own run.
    source = click.get_current_context().get_parameter_source
    typed = {name: value for name, value in options.items() if source(name) == ParameterSource.COMMANDLINE}
    written = model.lower().endswith(".json") and not model.lower().endswith(".index.json")
    announce_compilation()
    with Progress(stderr()) as progress:
        answer = (
            _of_result(model, options, typed=typed, progress=progress)
            if written
            else _of_model(model, options, progress)
        )
    deliver(answer, options)


def _of_model(model: str, options: dict[str, Any], progress: Progress) -> Explanation:
    from eie.cli.inputs import read_model
    from eie.spec import load_spec
    from eie.studies.explain.explain import explain as find_out

    if options["of"] is not None:
        raise click.UsageError(f"--model: {model} is a model itself, and no result")
    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    progress.stage(f"reading {model}")
    network, inputs = read_model(model, options)
    return find_out(network, inputs, spec=spec, batch=options["batch"], **_how(options, progress))


def _of_result(file: str, options: dict[str, Any], *, typed: dict[str, Any], progress: Progress) -> Explanation:
    from eie.formats.answers import read_answer
    from eie.studies.explain.explain import ExplainError
    from eie.studies.explain.explain import explain as find_out

    for field, option in OF_THE_RESULT.items():
        if field in typed:
            raise click.UsageError(f"{option}: {file} was run with its own already; it applies to models")
    progress.stage(f"reading {file}")
    document = read_answer(file, "eie-result")
    ran = _recorded(document.command)
    options = {**options, **{key: value for key, value in ran.items() if key in options}, **typed}
    name = options["of"] or ran.get("model")
    how = _how(options, progress)
    network, inputs = _at_hand(name, options, asked=options["of"] is not None)
    # By the hash, where it was not named: another model may lie under its name today.
    if network is not None and options["of"] is None and network.sha256 != document.values.get("model_sha256"):
        network, inputs = None, None
    try:
        return find_out(file, inputs, network=network, **how)
    except ExplainError:
        if options["of"] is not None:
            raise
        # What was found is not what ran: the library looks further, and says so.
        return find_out(file, **how)


def _recorded(command: str) -> dict[str, Any]:
    """Return the options that a result says it was made with; nothing of other commands."""
    from eie.cli.run import run

    try:
        words = shlex.split(command)
        if words[:2] != ["eie", "run"]:
            return {}
        return dict(run.make_context("run", words[2:]).params)
    except (ValueError, click.ClickException, click.exceptions.Exit):
        # Written by hand, or by a release with other options.
        return {}


def _at_hand(name: str | None, options: dict[str, Any], *, asked: bool) -> tuple[Network | None, Inputs]:
    """Read the model and the inputs that a result names; nothing where they are no longer there and nobody asked."""
    from eie.cli.inputs import read_model
    from eie.errors import EieError

    if name is None:
        return None, None
    try:
        return read_model(name, options)
    except EieError:
        if asked:
            raise
        return None, None


def _how(options: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return {
        "conv": options["conv"],
        "bias": options["bias"],
        "objective": options["objective"],
        "cell": options["sram_cell"],
        "threads": options["threads"],
        "progress": progress.stage,
    }
