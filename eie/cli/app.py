"""The commands, one module each; the work is loaded when one of them is called, so that ``eie --help`` is instant."""

from __future__ import annotations

import click

from eie.cli.compare import compare
from eie.cli.compile import compile_model
from eie.cli.compress import compress
from eie.cli.diff import diff
from eie.cli.doctor import doctor
from eie.cli.explain import explain
from eie.cli.granularity import granularity
from eie.cli.help import Commands, laid_out
from eie.cli.inspect import inspect
from eie.cli.models import models
from eie.cli.notebooks import notebooks
from eie.cli.paper import paper
from eie.cli.rtl import rtl
from eie.cli.run import run
from eie.cli.search import search
from eie.cli.simulate import simulate
from eie.cli.sweep import sweep
from eie.cli.trace import trace
from eie.cli.warmup import warmup
from eie.version import __version__


def _memory(context: click.Context, _: click.Parameter, text: str | None) -> None:
    """Set what files may unpack to; a command's own word goes before that of the group."""
    from eie.formats.budget import set_budget

    # The group is asked first, and takes back what an earlier call in this process has set.
    if text is not None or context.parent is None:
        set_budget(text)


def _memory_option() -> click.Option:
    return click.Option(
        ["--memory"],
        metavar="SIZE",
        expose_value=False,
        callback=_memory,
        help="What a file may unpack to, as 4GiB [default: EIE_MEMORY, else half of the machine's memory].",
    )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="eie")
def app() -> None:
    """What does a pruned network cost on an EIE-style sparse accelerator, and why?

    \b
    eie run lenet-300-100        a shipped model: compile, simulate, report
    eie run model.onnx           your own; also .pt, .safetensors, .npz, .toml ...
    eie explain lenet-300-100    what binds each layer, and what to change
    eie sweep model.npz --vary n_pe=1:256:x2 -o results
    eie paper                    the EIE paper's tables and figures beside ours
    """


for command in (
    # In the order in which they are used, for the reader; click's help lists them by name.
    run, explain, compile_model, simulate, inspect, warmup, compare, diff, compress, trace, sweep, granularity, search,
    paper, rtl, models, doctor, notebooks,
):  # fmt: skip
    app.add_command(command)
for command in (app, *app.commands.values(), *trace.commands.values()):
    command.params.append(_memory_option())
laid_out(app)
