"""Sweeps on a real Dask scheduler with worker processes on loopback: killed workers, a dead scheduler, TLS."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner

import eie
from eie.sweeps import workers
from eie.sweeps.plan import workloads

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
get_mp_context = distributed.utils.get_mp_context
# Dask's own: sockets that a killed worker leaves open are reported when they are collected.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]

VARY = {"n_pe": "1:24", "act_queue_depth": [2, 8]}
MODEL = """
name = "chain"
sequential = true
layer = [
    {name = "a", inputs = 300, outputs = 200, weight_density = 0.2, relu = true, activation_density = 0.5},
    {name = "b", inputs = 200, outputs = 100, weight_density = 0.3},
]
"""


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 4, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"}
    # Copies of one process that has imported what a worker needs: six of them, with those that replace the killed.
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["distributed", "eie.sweeps.workers", "eie.simulation"])
        with distributed.LocalCluster(**options, protocol="tcp://", dashboard_address=None) as made:
            yield made


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    layers = [
        eie.Layer.from_weights(name, rng.choice([0.0, 0.0, 0.0, 1.0, -2.0], shape), relu=True)
        for name, shape in (("a", (200, 300)), ("b", (100, 200)))
    ]
    return eie.Network(name="chain", layers=tuple(layers), sequential=True), rng.random((3, 300)) * (
        rng.random((3, 300)) < 0.5
    )


def test_two_killed_workers_of_four_lose_and_double_nothing(cluster, network, tmp_path):
    journal, killed, seen = tmp_path / "journal.jsonl", [], []
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(4)
        victims = sorted(client.run(os.getpid).values())

        def kill_one(done, total):
            seen.append(done)
            if done >= 10 * (1 + len(killed)) and len(killed) < 2:
                os.kill(victims[len(killed)], signal.SIGKILL)
                killed.append(done)

        result = eie.sweep(network, VARY, client=client, journal=journal, progress=kill_one)
        assert not set(victims[:2]) & set(client.run(os.getpid).values())
    assert len(killed) == 2
    assert 10 <= killed[0] < 48
    assert seen == sorted(seen)
    assert seen[-1] == 48
    keys = [json.loads(line)["entry"].get("key") for line in journal.read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 48
    on_threads = eie.sweep(network, VARY)
    assert result.to_csv().encode() == on_threads.to_csv().encode()
    assert result.rows == on_threads.rows


def test_the_command_takes_a_scheduler(cluster, tmp_path):
    from eie.cli.app import app

    (tmp_path / "model.toml").write_text(MODEL)
    words = ["sweep", str(tmp_path / "model.toml"), "--vary", "n_pe=2,4", "-o"]
    for folder, more in (("cluster", ["--scheduler", cluster.scheduler_address]), ("threads", [])):
        done = CliRunner().invoke(app, [*words, str(tmp_path / folder), *more], catch_exceptions=False)
        assert done.exit_code == 0
    tables = [(tmp_path / folder / "points.csv").read_bytes() for folder in ("cluster", "threads")]
    assert tables[0] == tables[1]


def test_points_fail_on_a_cluster_as_on_threads(cluster, network):
    base = eie.EIE_64PE.replace(n_pe=1, stream_kib=0.02, index_bits=1)
    vary = {"ptr_bits": [4, 16], "spmat_row_bits": [4, 64], "weight_bits": [4, 2]}
    found = eie.sweep(network, vary, spec=base, client=cluster.scheduler_address)
    assert 0 < len(found.failed) < 8
    assert found.to_csv() == eie.sweep(network, vary, spec=base).to_csv()


def test_workers_of_another_version_are_refused(cluster, network, monkeypatch):
    monkeypatch.setattr("eie.sweeps.workers.engine_digest", _another)
    with pytest.raises(eie.EieError, match="have another version of eie: install the same everywhere"):
        eie.sweep(network, VARY, client=cluster.scheduler_address)


class _Another:
    """Differs from process to process."""

    def __call__(self):
        return str(os.getpid())


_another = _Another()


def test_a_scheduler_without_workers(network, monkeypatch):
    monkeypatch.setattr("eie.sweeps.workers.CONNECT_SECONDS", 1)
    options = {"n_workers": 0, "host": "127.0.0.1", "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options) as empty,
        pytest.raises(eie.EieError, match="scheduler tcp://127.0.0.1:.*: has no workers"),
    ):
        eie.sweep(network, VARY, client=empty.scheduler_address)


def test_a_scheduler_that_is_not_there(network, monkeypatch):
    monkeypatch.setattr("eie.sweeps.workers.CONNECT_SECONDS", 1)
    with pytest.raises(eie.EieError, match="scheduler tcp://127.0.0.1:9: does not answer"):
        eie.sweep(network, VARY, client="tcp://127.0.0.1:9")


# -- a scheduler that dies --------------------------------------------------------------------------------------------


def started_by_hand(*words, **options):
    """Start a part of a cluster as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + words[0], *map(str, words[1:])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def own_cluster(tmp_path):
    """A scheduler and a worker in processes of their own; gives the address and the scheduler."""
    started = []

    def start(*more, kind="tcp"):
        file = tmp_path / "scheduler.json"
        parts = ("--scheduler-file", file, *more)
        # Ports of the system's choice: tests run side by side.
        scheduler = started_by_hand(
            "scheduler", *parts, "--port", 0, "--dashboard-address", ":0", "--host", f"{kind}://127.0.0.1"
        )
        started.append(scheduler)
        started.append(started_by_hand("worker", *parts, "--nthreads", 1, "--no-nanny", "--no-dashboard"))
        for _ in range(600):
            if file.exists() and file.stat().st_size:
                break
            assert scheduler.poll() is None, scheduler.stderr.read()
            time.sleep(0.05)
        return json.loads(file.read_text())["address"], scheduler

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_a_deaf_scheduler_ends_the_sweep_with_its_name(own_cluster, network, tmp_path, monkeypatch):
    """The sweep ends, in well below half a minute of the limits as they are, and goes on elsewhere."""
    assert workers.PULSE_SECONDS + workers.PROBE_SECONDS + workers.CLOSE_SECONDS < 30
    monkeypatch.setattr(workers, "PULSE_SECONDS", 0.5)
    monkeypatch.setattr(workers, "PROBE_SECONDS", 2)
    address, scheduler = own_cluster()
    journal, killed = tmp_path / "journal.jsonl", []

    def kill(done, total):
        if done >= 4 and not killed:
            killed.append(done)
            scheduler.send_signal(signal.SIGSTOP)

    with pytest.raises(eie.EieError, match=rf"scheduler {address}: is gone .*the same command goes on from there"):
        eie.sweep(network, VARY, client=address, journal=journal, progress=kill)
    assert eie.sweep(network, VARY, journal=journal).to_csv() == eie.sweep(network, VARY).to_csv()


@pytest.mark.long
def test_a_dead_scheduler_on_the_command_line(own_cluster, tmp_path):
    """`standard output: ConnectionPool closing.` in 0.1, after a minute."""
    address, scheduler = own_cluster()
    (tmp_path / "model.toml").write_text(MODEL)
    words = [sys.executable, "-m", "eie", "sweep", tmp_path / "model.toml", "--vary", "n_pe=1:64"]
    words += ["--vary", "act_queue_depth=2:40", "--scheduler", address, "-o", tmp_path / "out"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out" / "journal.jsonl"
    while command.poll() is None and not (journal.exists() and journal.stat().st_size > 4000):
        time.sleep(0.01)
    scheduler.kill()
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"eie: scheduler {address}: is gone" in errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """A certificate that signs itself, as `docs/sweeps.md` makes one: file and key."""
    cert, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=eie -keyout"
    made = subprocess.run([*words.split(), key, "-out", cert], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs openssl")
    return cert, key


def test_a_sweep_over_tls(own_cluster, certificate, tmp_path):
    from eie.cli.app import app

    cert, key = certificate
    files = ["--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]
    address, _ = own_cluster(*files, kind="tls")
    assert address.startswith("tls://")
    (tmp_path / "model.toml").write_text(MODEL)
    words = ["sweep", str(tmp_path / "model.toml"), "--vary", "n_pe=2,4", "-o"]
    for folder, more in (("tls", ["--scheduler", address, *files]), ("threads", [])):
        done = CliRunner().invoke(app, [*words, str(tmp_path / folder), *more], catch_exceptions=False)
        assert done.exit_code == 0
        assert "plain TCP" not in done.output
    assert (tmp_path / "tls" / "points.csv").read_bytes() == (tmp_path / "threads" / "points.csv").read_bytes()
    # Without our certificate the scheduler lets nobody in.
    with pytest.raises(eie.EieError, match="scheduler tls://.*: does not answer"):
        eie.sweep(str(tmp_path / "model.toml"), {"n_pe": [2]}, client=address)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--scheduler", "tcp://127.0.0.1:9", "--tls-ca-file", "ca.pem"], 2, "belong to --scheduler tls://"),
        (["--tls-cert", "ca.pem"], 2, "belong to --scheduler tls://"),
        (["--scheduler", "tls://127.0.0.1:9", "--tls-ca-file", "none.pem"], 1, "--tls-ca-file none.pem: no such file"),
    ],
)
def test_words_that_do_not_go_together(cli, words, code, text):
    ended, _, errors = cli("sweep", "lenet-300-100", "--vary", "n_pe=2", *words, "-o", "out")
    assert (ended, text in errors) == (code, True), errors


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://10.0.0.7:8786", True),
        ("head-node:8786", True),
        ("tls://10.0.0.7:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("inproc://somewhere", False),
    ],
)
def test_plain_tcp_beyond_this_machine_is_warned_of(address, warned):
    said = workers.plain_tcp(address)
    assert (said is not None) is warned
    assert said is None or "use tls://" in said


# -- versions ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_joins_later_is_refused_too(network):
    """Its digest is asked for with every job, since workers come and go."""
    work = workloads(network, None)[0]
    job = workers.Job(chunk=0, workload=0, layer=0, specs=(eie.EIE_64PE,), cell="itrs-lop")
    with pytest.raises(eie.EieError, match="a worker on .*: has another version of eie: install the same everywhere"):
        workers._run_on_worker(work, job, "another digest")
    assert len(workers._run_on_worker(work, job, workers.engine_digest())) == 1


def test_the_refusal_of_a_worker_ends_the_sweep(cluster, network, monkeypatch):
    known = workers.engine_digest()
    asked = []

    def changing():
        # The same when the workers are asked at first, another with the jobs: as of workers that joined since.
        asked.append(threading.current_thread())
        return known if len(asked) == 1 else "another"

    monkeypatch.setattr(workers, "engine_digest", changing)
    monkeypatch.setattr(workers.Cluster, "_require_scheduler", lambda *_: None)
    with distributed.Client(cluster, set_as_default=False) as client:
        made = workers.Cluster.__new__(workers.Cluster)
        made._workloads, made._client, made._owned = workloads(network, None), client, False
        job = workers.Job(chunk=0, workload=0, layer=0, specs=(eie.EIE_64PE,), cell="itrs-lop")
        changing()
        with pytest.raises(eie.EieError, match="has another version of eie"):
            list(made.outcomes([job]))
