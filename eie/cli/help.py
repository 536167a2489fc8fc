"""How help is laid out: summaries whole, examples under every command.

Comes in: commands. Goes out: what ``--help`` prints. Used by `app` and by each command for its examples.
"""

from __future__ import annotations

import click

# Longer than any first sentence: click cuts a summary where it thinks the line ends, and then nobody knows how it ends.
WHOLE = 1_000


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands that can be typed as they stand, a line each."""
    heading = "Example" if len(lines) == 1 else "Examples"
    # Between \b and a blank line click leaves the lines as they are.
    return "\n".join(("\b", f"{heading}:", *(f"  {line}" for line in lines)))


class Commands(click.Group):
    """A group whose list of commands shows every summary in full, on as many lines as it needs."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write name and summary of each command; broken between words where a line is short."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(WHOLE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
