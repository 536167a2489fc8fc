"""How help is laid out: summaries whole, examples under every command.

Comes in: commands. Goes out: what ``--help`` prints. Used by `app` and by each command for its examples.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

# Longer than any first sentence: click cuts a summary where it thinks the line ends, and then nobody knows how it ends.
WHOLE = 1_000
# Click breaks lines behind a hyphen, and not behind this one.
_TIED = "\N{NON-BREAKING HYPHEN}"


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands that can be typed as they stand, a line each."""
    heading = "Example" if len(lines) == 1 else "Examples"
    # Between \b and a blank line click leaves the lines as they are.
    return "\n".join(("\b", f"{heading}:", *(f"  {line}" for line in lines)))


class Formatter(click.HelpFormatter):
    """Lines that break at blanks only: names of machines and options hold hyphens, and are typed as they stand."""

    def write(self, string: str) -> None:
        """Write with the hyphens as they were."""
        super().write(string.replace(_TIED, "-"))

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(text.replace("-", _TIED))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names with what they mean."""
        super().write_dl([(name, text.replace("-", _TIED)) for name, text in rows], col_max, col_spacing)


class Context(click.Context):
    """A command's context, with that formatter."""

    formatter_class = Formatter


def laid_out(command: click.Command) -> None:
    """Give a command, and those below it, that layout."""
    command.context_class = Context
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        laid_out(below)


class Commands(click.Group):
    """A group whose list of commands shows every summary in full, and which knows whose an option is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before the command; an option of a command is refused with the command's name."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            homes = [key for key, command in self.commands.items() if any(name in part.opts for part in command.params)]
            if not homes:
                raise
            raise click.UsageError(f"{name} goes behind its command: {', '.join(homes)}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write name and summary of each command; broken between words where a line is short."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(WHOLE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
