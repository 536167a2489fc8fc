"""``python -m eie``."""

from eie.cli import main

main()
