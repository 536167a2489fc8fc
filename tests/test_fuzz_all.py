"""`make fuzz` as a whole: what fails stops nothing, what passed is not tried again, and the exit code says which."""

import json

import fuzz_all
import pytest
from fuzz_tally import Tally


@pytest.fixture
def pieces(monkeypatch):
    """Two pieces, of which one fails."""
    words = {
        "bad": ("-c", 'import sys; print(\'bad: {"read": 1, "failed": 1}\'); sys.exit(1)'),
        "good": ("-c", 'print(\'good: {"read": 2, "refused": 3}\')'),
    }
    monkeypatch.setattr(fuzz_all, "pieces", lambda *_: words)
    monkeypatch.setattr(fuzz_all.fuzz_files, "build", lambda folder: folder)
    return words


def test_a_failure_stops_no_other_and_only_it_is_tried_again(pieces, tmp_path, capsys):
    report = tmp_path / "new" / "report.jsonl"
    for rows in (2, 3):
        assert fuzz_all.main(["--report", str(report)]) == 1
        out = capsys.readouterr().out
        assert "FAILED, exit code 1" in out
        assert "2 pieces" in out.splitlines()[-2]
        assert len(report.read_text().splitlines()) == rows
    pieces["bad"] = pieces["good"]
    assert fuzz_all.main(["--report", str(report)]) == 0


def test_an_interrupt_tells_what_was_done(pieces, tmp_path, capsys, monkeypatch):
    run = fuzz_all.run

    def interrupted(name, words, good):
        if name == "bad":
            raise KeyboardInterrupt
        return run(name, words, good)

    monkeypatch.setattr(fuzz_all, "run", interrupted)
    assert fuzz_all.main(["--report", str(tmp_path / "r.jsonl")]) == 130
    assert "not tried" in capsys.readouterr().out.splitlines()[-1]


def test_a_tally_counts_and_groups(capfd):
    tally = Tally("kind")
    for i in range(4):
        assert tally.case(i, lambda i=i: "read" if i else 1 // i) == (i == 0)
    assert tally.close() == 1
    first, failure = capfd.readouterr().out.splitlines()
    counts = json.loads(first.removeprefix("kind: "))
    assert (counts["read"], counts["failed"]) == (3, 1)
    assert "1 x ZeroDivisionError" in failure
