"""Run the lessons. ``python tests/run_notebooks.py [NAME...]`` renews stored outputs from the ``.py`` twins.

Comes in: ``notebooks/*.py``, percent format. Goes out: the executed notebook. `notebooks_proof` holds what is stored to
a run; a cell tagged ``measured`` shows what this computer took, which is another number each time.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
# Paths of this checkout and temporary folders, versions of packages, hashes that cover them, numbered displays.
MASKS = (
    (re.compile(r"(/[\w.@+-]+){2,}"), "PATH"),
    (re.compile(r"\b\d+\.\d+\.\d+(\.\w+)?(\+\w+)?\b"), "VERSION"),
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "HASH"),
)


def executed(file, timeout=300):
    """Return the notebook of a twin, run from top to bottom; ids and metadata as they are stored."""
    notebook = jupytext.read(file)
    stored = file.with_suffix(".ipynb")
    if stored.exists():
        notebook = combine_inputs_with_outputs(notebook, nbformat.read(stored, as_version=4))
    # Without times of execution, which would change every file each time, and one text a cell, however many pieces it
    # came in on a busy machine.
    how = {"timeout": timeout, "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(notebook, resources={"metadata": {"path": FOLDER}}, **how)
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # What a bar leaves behind: a display with nothing in it.
            cell.outputs = [output for output in cell.outputs if not _empty(output)]
    # The kernel's name is this computer's choice.
    notebook.metadata.pop("jupytext", None)
    return notebook


def _empty(output):
    return output.output_type == "display_data" and output.data.get("text/plain") == "" and len(output.data) == 1


def texts(notebook):
    """Return what each code cell prints and shows as text, masked; nothing of cells that are measured."""
    return [
        (cell.source, "" if "measured" in cell.metadata.get("tags", ()) else _masked(_printed(cell)))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _printed(cell):
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text if output.name == "stdout" else "")
        elif output.output_type in ("display_data", "execute_result") and "image/png" not in output.data:
            # A picture's bytes are those of fonts and of matplotlib's release; its numbers stand in text beside it.
            parts.append(
                re.sub(r"<svg.*?</svg>", "SVG", output.data.get("text/html") or output.data["text/plain"], flags=re.S)
            )
    return "".join(parts)


def _masked(text):
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


if __name__ == "__main__":
    for twin in sorted(FOLDER.glob("*.py")):
        if not sys.argv[1:] or any(word in twin.name for word in sys.argv[1:]):
            nbformat.write(executed(twin), twin.with_suffix(".ipynb"))
            sys.stdout.write(f"{twin.stem}\n")
