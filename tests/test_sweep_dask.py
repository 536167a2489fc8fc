"""Sweeps on a real Dask scheduler with worker processes on loopback."""

import json
import os
import signal

import numpy as np
import pytest
from click.testing import CliRunner

import eie

distributed = pytest.importorskip("distributed")
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
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"}
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


def test_a_killed_worker_loses_and_doubles_nothing(cluster, network, tmp_path):
    journal, killed, seen = tmp_path / "journal.jsonl", [], []
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        victims = sorted(client.run(os.getpid).values())

        def kill_one(done, total):
            seen.append(done)
            if done >= 10 and not killed:
                os.kill(victims[0], signal.SIGKILL)
                killed.append(done)

        result = eie.sweep(network, VARY, client=client, journal=journal, progress=kill_one)
        assert victims[0] not in client.run(os.getpid).values()
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
