"""What stands for ``subprocess`` where Python code is run in another process hundreds of times: copies of this process.

A new interpreter takes a fifth of a second of processor time to import what the code needs, a copy some milliseconds.
`hdf5.probe` is tried with real processes in tests/test_containers.py.
"""

import os
import sys
import warnings
from types import SimpleNamespace


def run(words, **_):
    """Run ``python ... -c CODE WORDS`` in a copy of this process; return what has its exit code."""
    at = words.index("-c")
    # Python warns of threads in the parent; the code that is run starts none and waits for none.
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.argv = ["-c", *words[at + 2 :]]
            exec(words[at + 1], {"__name__": "__main__"})
            code = 0
        finally:
            # Nothing of the test's own end: no report, no hooks.
            os._exit(code)
    return SimpleNamespace(returncode=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
