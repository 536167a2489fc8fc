"""What stands for ``subprocess`` where Python code is run in another process hundreds of times: copies of a small one.

A new interpreter takes a fifth of a second of processor time to import what the code needs, a copy some milliseconds.
Copied is an interpreter that has imported nothing else: in the middle of a suite a copy of the tests' own process takes
longer than what it does. `hdf5.probe` is tried with real processes in tests/test_containers.py.
"""

import atexit
import json
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

# Reads [code, words] a line and answers with the exit code of a copy that has run it.
SERVER = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    code, words = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            # As of `subprocess.run(..., stdin=DEVNULL)`: the lines are the server's.
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            sys.argv = ["-c", *words]
            exec(code, {"__name__": "__main__"})
            status = 0
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def _server():
    words = [sys.executable, "-c", SERVER, "h5py"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(words, **pipes, text=True)
    atexit.register(server.communicate)
    return server


def run(words, **_):
    """Run ``python ... -c CODE WORDS`` in a copy of a small process; return what has its exit code."""
    at, server = words.index("-c"), _server()
    server.stdin.write(json.dumps([words[at + 1], [str(word) for word in words[at + 2 :]]]) + "\n")
    server.stdin.flush()
    return SimpleNamespace(returncode=int(server.stdout.readline()))
