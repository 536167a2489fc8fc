"""Warnings and logs of libraries that nobody here can do anything about, kept from the terminal.

Comes in: the name of a logger. Read by whoever calls a library that talks.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Keep warnings, and what ``logger`` would write, from the terminal; what fails is raised all the same."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
