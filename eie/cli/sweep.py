"""``eie sweep``: its words, options and files. The work is in `eie.sweeps`, loaded when the command is called."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eie.cli.help import examples
from eie.cli.options import bias_option, conv_option, how_to_read, layout_option, model_options
from eie.cli.outputs import BARE, FIGURES, check_files, deliver, note, output_options, typed

if TYPE_CHECKING:
    from rich.console import Console

    from eie.model.fitting import Layout
    from eie.sweeps.result import SweepResult


@click.command(
    epilog=examples(
        "eie sweep lenet-5 --vary n_pe=1:256:x2 -o results --pareto latency,energy",
        "eie sweep lenet-5 --vary act_queue_depth=2,8,32 -o queues --plot figures",
    )
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="FIELD=VALUES",
    help="Values of a spec field, as in n_pe=1:256:x2, clock_mhz=400:1200:+200 or act_queue_depth=2,4,8; repeatable.",
)
@click.option("-o", "--output", default="results", show_default=True, metavar="DIR", help="Folder for what is written.")
@click.option("--spec", "spec_name", default="EIE_64PE", metavar="NAME|FILE.toml", help="The machine to vary.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a field that is not varied.")
@model_options
@click.option("--trace", "traces", multiple=True, metavar="FILE", help="Activations (.npz, .npy); each for all models.")
@layout_option
@click.option("--samples", type=click.IntRange(1), help="Use the first samples of each trace only.")
@click.option("--pareto", metavar="LIST", help="Mark the front of latency,energy,energy-delay,area or other columns.")
@click.option(
    "--front",
    metavar="LIST",
    help="Evaluate every point, keep all in the journal, and show and write the front of these alone: for grids that "
    "no memory holds.",
)
@click.option("--optimise", metavar="LIST", help="Instead of the whole grid, look for points with small objectives.")
@click.option("--any-clock", is_flag=True, help="Take machines in too whose clock is faster than they can run.")
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="Points to try with --optimise.")
@click.option("--retry-failed", is_flag=True, help="Try points again that failed before.")
@click.option("--threads", type=click.IntRange(1), help="Worker threads [default: all cores].")
@click.option("--scheduler", metavar="tls://HOST:PORT", help="Use the workers of a Dask scheduler instead.")
@click.option("--tls-ca-file", metavar="FILE", help="Certificates that the scheduler is trusted by (PEM).")
@click.option("--tls-cert", metavar="FILE", help="Our own certificate for it (PEM).")
@click.option("--tls-key", metavar="FILE", help="The key of --tls-cert (PEM), where that does not hold it.")
@click.option(
    "--sram-cell",
    "cell",
    type=click.Choice(["itrs-lop", "itrs-lstp"]),
    default="itrs-lop",
    show_default=True,
    help="CACTI cell that scales SRAM energy and area to other sizes.",
)
@bias_option
@conv_option
@output_options
def sweep(**options: Any) -> None:
    """Run MODELs on every combination of spec values.

    Writes points.csv (and points.parquet, with the data extra), sweep.json and journal.jsonl into the folder. A sweep
    that was interrupted goes on when the same command is given again.
    """
    run(**options)


def run(
    models: Sequence[str],
    vary: Sequence[str],
    output: str,
    spec_name: str,
    overrides: Sequence[str],
    traces: Sequence[str],
    samples: int | None,
    scheduler: str | None,
    pareto: str | None,
    front: str | None,
    optimise: str | None,
    **options: Any,
) -> None:
    """Sweep, write the files, show the totals."""
    from eie.cli.inputs import announce_compilation, stderr
    from eie.spec import load_spec
    from eie.sweeps.run import sweep as run_sweep
    from eie.sweeps.vary import read_vary

    check_files(options, *models, *traces)
    # Words are read first: a sweep that cannot begin should not load models.
    values = read_vary(vary)
    spec = load_spec(spec_name, overrides)
    # A field that is set and varied could mean either.
    if clash := [word for word in overrides if word.partition("=")[0].strip() in values]:
        raise click.UsageError(f"--set {clash[0]}: this field is varied")
    if front and (pareto or optimise):
        raise click.UsageError("--front is a front already: give no --pareto or --optimise")
    security = _security(scheduler, options)
    # What was optimised is what one wants to see the front of.
    marked = _names(pareto) or _names(optimise)
    announce_compilation()
    how = how_to_read(options)
    words = ("trials", "retry_failed", "threads", "cell", "bias", "conv", "any_clock")
    how_to_sweep = {name: options[name] for name in words}
    # Each model with each trace, in the order of the words.
    loads = [
        pair for model in models for pair in _with_inputs(model, how, traces, samples=samples, layout=options["layout"])
    ]
    with PointProgress(stderr()) as progress:
        result = run_sweep(
            loads,
            values,
            spec=spec,
            # In the folder of the results: the same -o is what makes a second call go on.
            journal=Path(output) / "journal.jsonl",
            client=scheduler,
            security=security,
            optimise=_names(optimise),
            front=_names(front),
            progress=progress.show,
            **how_to_sweep,
        )
    for said in result.notes:
        note(said)
    # Written before it is shown: whatever fails from here on, the points are there.
    _write(result, Path(output), options["quote_formulas"])
    if marked and result.totals:
        # Marked in a second step: a wrong objective must not cost the table.
        result = result.pareto(*marked, any_clock=options["any_clock"])
        _write(result, Path(output), options["quote_formulas"])
    if options["plot_folder"] == BARE:
        options["plot_folder"] = str(Path(output) / FIGURES)
    _show(result, output, options)


def _security(scheduler: str | None, options: Mapping[str, Any]) -> Any:
    """Return how to reach the scheduler, and warn of one that anybody can listen to."""
    from eie.sweeps.workers import plain_tcp, quiet, tls

    files = {name: options[f"tls_{name}"] for name in ("ca_file", "cert", "key")}
    if any(files.values()) and not (scheduler or "").startswith("tls://"):
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key belong to --scheduler tls://HOST:PORT")
    if scheduler:
        quiet()
    if scheduler and (warning := plain_tcp(scheduler)):
        note(f"warning: {warning}")
    return tls(**files)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _with_inputs(
    model: str, how: Mapping[str, Any], traces: Sequence[str], *, samples: int | None, layout: Layout | None
) -> list[tuple[Any, Any]]:
    """Pair a network with each trace file, or with its own trace."""
    from eie.cli.inputs import load_for, open_inputs, read_inputs

    files = [open_inputs(file) for file in traces or (None,)]
    # Of open sizes there is one each in a network: those of the first.
    network = load_for(model, how, files[0], layout=layout)
    return [
        (network, read_inputs(file=opened, samples=samples, network=network, own=network.trace, layout=layout))
        for opened in files
    ]


def _write(result: SweepResult, folder: Path, quote_formulas: bool) -> None:
    from eie.show.envelope import enveloped
    from eie.show.writing import write_text

    result.to_csv(folder / "points.csv", quote_formulas=quote_formulas)
    # The data extra is optional: without it the CSV is all there is.
    if find_spec("pyarrow") is not None:
        result.to_parquet(folder / "points.parquet")
    # Without the rows, which are beside it: a large sweep has hundreds of thousands.
    write_text(folder / "sweep.json", enveloped(result.SCHEMA, result.about(), typed()))


def _show(result: SweepResult, folder: str, options: Mapping[str, Any]) -> None:
    """Show the totals (of the front, where one is marked), and say on stderr what failed and where the rest is."""
    from eie.errors import SweepError

    if result.totals:
        deliver(result, options)
    if result.failed:
        first = result.failed[0]["error"].splitlines()[0]
        note(f"{len(result.failed)} points failed (column error; --retry-failed tries again), first: {first}")
    count = len(result.totals) + len(result.failed)
    note(f"wrote {'' if result.evaluated is None else 'the front, '}{count} points to {folder}")
    if not result.totals:
        # After everything is written: the exit code says it, the files say why.
        raise SweepError("every point failed")


class PointProgress:
    """Points done, rate and time left, on stderr where that is a terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        from eie.cli.progress import Known

        self._bar = Progress(
            TextColumn("points"),
            # How many points there are is known with the first of them.
            Known(BarColumn()),
            Known(MofNCompleteColumn()),
            TextColumn("{task.fields[rate]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, rate="")
        self._begun: tuple[float, int] | None = None

    def __enter__(self) -> PointProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Move the bar; points found in the journal do not count for the rate."""
        now = time.monotonic()
        # The first call counts what was in the journal; the rate is that of what is computed now.
        if self._begun is None:
            self._begun = now, done
        since, before = self._begun
        text = ""
        # Neither is a rate before the first point is done.
        if done > before and now > since:
            rate = (done - before) / (now - since)
            text = f"{rate:.1f}/s, ETA {timedelta(seconds=round((total - done) / rate))}"
        self._bar.update(self._task, completed=done, total=total, rate=text)
