"""What ``make mutants`` plants: nothing that only a type checker reads, no line twice, few swaps; a room has tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mutants"))

import plan
import run

SOURCE = """
from typing import TYPE_CHECKING, TypeVar
if TYPE_CHECKING:
    limit = 1 + 1
T = TypeVar("T", int, 1 | 2)

@njit
@property
def tally(a: int | None = 1 - 1, *rest: int | str) -> int | float:
    total: int | None = a | 3
    total: int | str
    return cast(1 | 2, total | 4)
    zip(a, 5, strict=True)
"""


def place(text, line, *, operator="core/NumberReplacer", path="eie/energy/area.py"):
    column = SOURCE.splitlines()[line - 1].index(text)
    return plan.Mutant(path=path, line=line, column=column, operator=operator, occurrence=0)


@pytest.mark.parametrize(
    ("text", "line", "read"),
    [
        ("1 + 1", 4, False),
        ("1 | 2", 5, False),
        ("| None", 9, False),
        ("- 1", 9, True),
        ("| str", 9, False),
        ("| float", 9, False),
        ("| None", 10, False),
        ("| 3", 10, True),
        ("| str", 11, False),
        ("1 | 2", 12, False),
        ("| 4", 12, True),
        ("5", 13, True),
        ("True", 13, False),
    ],
)
def test_only_what_the_program_reads_is_changed(text, line, read):
    assert plan.is_read(place(text, line), plan.unread(SOURCE)) is read


def test_decorators_that_say_how_a_function_is_run_stay():
    remove = "core/RemoveDecorator"
    assert not plan.is_read(place("@njit", 7, operator=remove), plan.unread(SOURCE))
    assert plan.is_read(place("@property", 8, operator=remove), plan.unread(SOURCE))


def mutants(lines):
    """On every line two numbers and four swaps."""
    swaps = [f"core/ReplaceComparisonOperator_Lt_{other}" for other in ("Gt", "GtE", "Eq")]
    operators = ["core/NumberReplacer", "core/NumberReplacer", "core/ReplaceUnaryOperator_USub_Not", *swaps]
    return [
        plan.Mutant(path="eie/energy/area.py", line=line, column=0, operator=operator, occurrence=i)
        for line in range(lines)
        for i, operator in enumerate(operators)
    ]


def test_no_line_twice_and_swaps_at_most_a_third():
    drawn = plan.choose(mutants(500), 100, seed=3)
    assert len({(mutant.path, mutant.line) for mutant in drawn}) == len(drawn) == 100
    assert sum(mutant.is_swap for mutant in drawn) == 33
    assert plan.choose(reversed(mutants(500)), 100, seed=3) == drawn
    assert plan.choose(mutants(500), 100, seed=4) != drawn
    only_swaps = [mutant for mutant in mutants(50) if mutant.is_swap]
    assert len(plan.choose(only_swaps, 30, seed=0)) == 10


def test_every_file_has_a_room_and_every_room_tests(root):
    files = [path.relative_to(root).as_posix() for folder in plan.FOLDERS for path in (root / folder).rglob("*.py")]
    assert len(files) > 30
    rooms = {plan.room_of(path) for path in files}
    assert rooms == set(plan.ROOMS), "a room that holds no file"
    for room, tests in plan.ROOMS.items():
        assert tests, room
        missing = [name for name in tests if not (root / "tests" / name).is_file()]
        assert not missing, room
    with pytest.raises(ValueError, match=r"eie/cli/app.py: no room of the table holds it"):
        plan.room_of("eie/cli/app.py")
    assert plan.room_of("eie/kernels/cluster.py") == "eie/kernels/cluster.py"
    assert plan.room_of("eie/kernels/timing.py") == "eie/kernels"


# `test_cluster.py` is of many machines that sweep together, the kernel of weights that are clustered.
NAMESAKES = {"eie/kernels/cluster.py"}


def test_a_modules_own_tests_are_in_its_room(root):
    """The table fell behind when kernels of scatter and of timelines came: their mutants met no test of theirs."""
    missing = {}
    for folder in plan.FOLDERS:
        for path in (root / folder).rglob("*.py"):
            own, name = f"test_{path.stem}.py", path.relative_to(root).as_posix()
            if (root / "tests" / own).is_file() and own not in plan.ROOMS[plan.room_of(name)] and name not in NAMESAKES:
                missing[name] = own
    assert missing == {}


def test_every_harmless_mutant_is_of_a_line_that_is_still_there(root):
    for (path, before, after), reason in run.harmless().items():
        assert before in [line.strip() for line in (root / path).read_text(encoding="utf-8").splitlines()], (
            path,
            before,
        )
        assert before != after
        assert len(reason) > 10


def verdict(mutant, *, killed, by="", before="a = 1", after="a = 2"):
    return run.Verdict(name=mutant.name, before=before, after=after, killed=killed, by=by, seconds=1.0)


def test_the_report_says_what_survived_and_why(capsys, monkeypatch):
    monkeypatch.setattr(run, "harmless", lambda: {("eie/energy/area.py", "b = 1", "b = 2"): "nobody reads b at all"})
    planted = plan.choose(mutants(50), 20, seed=0)
    verdicts = [verdict(mutant, killed=True, by="tests/test_energy.py::test_x") for mutant in planted]
    assert run.report(planted, verdicts)
    verdicts[0] = verdict(planted[0], killed=False)
    verdicts[1] = verdict(planted[1], killed=False, before="b = 1", after="b = 2")
    verdicts[2] = verdict(planted[2], killed=True, by="tests/test_cli.py::test_y")
    assert run.report(planted, verdicts)
    text = capsys.readouterr().out
    assert "eie/energy                     20       18                   1         1         1" in text
    assert f"{planted[0].name}\n  - a = 1\n  + a = 2\n  a test is missing" in text
    assert "changes nothing: nobody reads b at all" in text
    assert "90.0% of 20 killed; of those that change something 94.7% of 19" in text
    verdicts[3] = verdict(planted[3], killed=False)
    assert not run.report(planted, verdicts)


def test_a_mutant_is_taken_out_again_and_its_source_keeps_its_time(tmp_path, monkeypatch):
    """With the changed line in the file while the tests run, and the file as it was before and after."""
    file = tmp_path / "checkout" / "eie" / "energy" / "area.py"
    file.parent.mkdir(parents=True)
    file.write_text("a = 1\n")
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(run, "mutate", lambda source, _: source.replace("1", "2"))
    seen = []

    def passes(self, tests, seconds):
        seen.append((file.read_text(), tuple(tests), seconds))
        (self.kernels / "eie" / "kernels-of-the-mutant").mkdir(parents=True)
        return False, "tests/test_energy.py::test_x"

    monkeypatch.setattr(run.Checkout, "passes", passes)
    checkout = run.Checkout(tmp_path)
    lists = [(["tests/test_energy.py"], 60), (["tests"], 600)]
    found = checkout.judge(plan.choose(mutants(1), 1, seed=0)[0], lists)
    assert seen == [("a = 2\n", ("tests/test_energy.py",), 60)]
    assert (found.killed, found.before, found.after) == (True, "a = 1", "a = 2")
    assert file.read_text() == "a = 1\n"
    assert file.stat().st_mtime_ns == before
    assert not list((tmp_path / "kernels").glob("eie/*"))


def test_verdicts_outlast_an_interruption(tmp_path):
    line = '{"name": "x", "before": "a", "after": "b", "killed": %s, "by": "", "seconds": 1.0}\n'
    (tmp_path / "verdicts.jsonl").write_text(line % "false" + line % "true")
    assert run.known_verdicts(tmp_path / "verdicts.jsonl")["x"].killed
    assert run.known_verdicts(tmp_path / "none.jsonl") == {}


def test_what_is_no_program_is_not_planted(tmp_path, monkeypatch):
    """cosmic-ray takes the ``*`` of a signature for a product: such a mutant would die of its own."""
    (tmp_path / "a.py").write_text("b = 1\n")
    changed = iter(["b = 2\n", "b = \n", "b = (1)\n"])
    monkeypatch.setattr(plan, "mutate", lambda *_: next(changed))
    usable = plan.is_another_program(tmp_path)
    mutant = plan.Mutant(path="a.py", line=1, column=4, operator="core/NumberReplacer", occurrence=0)
    assert [usable(mutant) for _ in range(3)] == [True, False, False]
    assert plan.choose(mutants(50), 10, seed=0, usable=lambda mutant: mutant.line >= 45)[0].line >= 45
    assert plan.choose(mutants(50), 10, seed=0, usable=lambda _: False) == []


def test_cosmic_ray_changes_what_is_listed(root):
    """Where it is installed: of every line that is listed some change can be made."""
    pytest.importorskip("cosmic_ray")
    listed = list(plan.possible(root, ("eie/energy/area.py",)))
    assert len(listed) > 50
    drawn = plan.choose(listed, 8, 1, plan.is_another_program(root))
    assert len(drawn) == 8
