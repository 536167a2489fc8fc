"""``eie notebooks``: lessons, examples, recipes and models copied out of the package, to be changed."""

from __future__ import annotations

from pathlib import Path

import click

from eie.cli.help import examples
from eie.cli.outputs import note

# With the models and traces that examples and recipes name, so that what is copied runs.
KINDS = ("notebooks", "examples", "models", "traces")
SUFFIXES = (".ipynb", ".py", ".toml", ".npz")


@click.command(epilog=examples("eie notebooks lessons && jupyter lab lessons/notebooks"))
@click.argument("folder", metavar="DIR")
@click.option("--force", is_flag=True, help="Write over files of DIR that differ.")
def notebooks(folder: str, force: bool) -> None:
    """Copy the notebooks, examples, recipes and models into DIR.

    What is there already and differs stays, unless --force is given. JupyterLab, to open them, comes with the extra
    notebook.
    """
    from eie.errors import EieError
    from eie.show.writing import replacing

    files = _files(Path(folder))
    changed = [target for target, source in files.items() if _differs(target, source)]
    # Asked before anything is written: half of a copy would be neither.
    if changed and not force:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise EieError(f"{changed[0]}{more}: there already, and different: --force writes over, or name another folder")
    for target, source in files.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EieError(f"{target.parent}: cannot be made a folder: {error.strerror or error}") from None
        with replacing(target) as file:
            file.write(source.read_bytes())
    note(f"copied {len(files)} files to {folder}: {', '.join(f'{kind}/' for kind in KINDS)}")


def _files(folder: Path) -> dict[Path, Path]:
    """Return what is copied: target and source of each file."""
    from eie.errors import EieError
    from eie.importers.shipped import shipped_folder

    files: dict[Path, Path] = {}
    for kind in KINDS:
        home = shipped_folder(kind)  # type: ignore[arg-type]
        if home is None:
            raise EieError(f"{kind}: not in this installation of eie: install it anew")
        for source in sorted(home.rglob("*")):
            # Checkpoints and caches of whoever works in a source tree are no part of it.
            hidden = any(part.startswith((".", "__")) for part in source.relative_to(home).parts)
            # The twin of a notebook, for reviews, is no lesson of its own.
            twin = kind == "notebooks" and source.suffix == ".py"
            if source.is_file() and source.suffix in SUFFIXES and not hidden and not twin:
                files[folder / kind / source.relative_to(home)] = source
    return files


def _differs(target: Path, source: Path) -> bool:
    # A folder in a file's place differs too, and --force will say why it cannot be written.
    return target.exists() and not (target.is_file() and target.read_bytes() == source.read_bytes())
