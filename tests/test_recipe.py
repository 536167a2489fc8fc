"""Recipes as data: what is right is read, what is wrong is said in full."""

import pytest

import eie
from eie.compression.pruning.pruner import scheduled_density
from eie.compression.recipe import Recipe, assign, load_recipe

GOOD = """
description = "all of it"
index_bits = { "conv*" = 8, "*" = 5 }

[[step]]
kind = "prune"
schedule = "iterative"
rounds = 3
epochs = 2
    [[step.rule]]
    layers = "ip1"
    sparsity = 0.92
    [[step.rule]]
    granularity = "block"
    block = [2, 4]
    density = 1

[[step]]
kind = "finetune"
epochs = 4

[[step]]
kind = "share"
    [[step.rule]]
    bits = 5
    init = "linear"

[[step]]
kind = "permute"
n_pe = 16
"""


def test_a_recipe_file(tmp_path):
    (tmp_path / "good.toml").write_text(GOOD)
    recipe = load_recipe(tmp_path / "good.toml")
    assert recipe.name == "good"
    assert [step.kind for step in recipe.step] == ["prune", "finetune", "share", "permute"]
    prune = recipe.step[0]
    assert prune.rule[0].target == pytest.approx(0.08)
    assert prune.rule[1].block == (2, 4)
    assert (prune.total_rounds, prune.epochs_a_round) == (3, 2)
    assert recipe.index_bits == {"conv*": 8, "*": 5}
    assert recipe.step[2].rule[0].init == "linear"


def test_rounds_and_epochs_when_not_given():
    one_shot, iterative = (
        Recipe.from_mapping({"step": [{"kind": "prune", "schedule": schedule, "rule": [{"density": 0.5}]}]}).step[0]
        for schedule in ("one-shot", "iterative")
    )
    assert (one_shot.total_rounds, one_shot.epochs_a_round) == (1, 0)
    assert (iterative.total_rounds, iterative.epochs_a_round) == (5, 1)


def test_everything_that_is_wrong_is_said_at_once():
    wrong = {
        "nam": "x",
        "index_bits": {"*": 9},
        "step": [
            {
                "kind": "prune",
                "criterion": "size",
                "rule": [
                    {"density": 1.5},
                    {"granularity": "4:2"},
                    {"granularity": "2:4", "density": 0.5},
                    {"density": 0.1, "sparsity": 0.9},
                    {"densty": 0.1, "density": 0.1},
                    {"granularity": "block", "density": 0.5},
                    {"granularity": "fine-grained", "density": 0.5},
                    {"granularity": "fine"},
                    {"granularity": "block", "block": [0, 4], "density": 0.5},
                ],
            },
            {"kind": "shar"},
            {"kind": "share", "rule": [{"bits": 9, "init": "kmeans"}]},
            {"kind": "prune", "rule": []},
            {"kind": "prune", "rounds": 3, "rule": [{"density": 0.1}]},
            {"kind": "prune", "scope": "global", "rule": [{"granularity": "2:4"}]},
            {"kind": "prune", "balance_n_pe": 4, "rule": [{"granularity": "row", "density": 0.5}]},
            {"kind": "permute", "n_pe": 2.5},
            {"kind": "finetune"},
            7,
        ],
    }
    with pytest.raises(eie.EieError) as failure:
        Recipe.from_mapping(wrong, "my.toml")
    assert failure.value.problems == (
        "my.toml.index_bits.*=9: must be <= 8",
        "my.toml.step.0.criterion='size': must be 'magnitude', 'l2', 'taylor', 'obd' or 'random'",
        "my.toml.step.0.rule.0.density=1.5: must be <= 1.0",
        "my.toml.step.0.rule.1: granularity='4:2': keeps 4 of 2: must be at most 2",
        "my.toml.step.0.rule.2: density: not with granularity 2:4, which says it itself",
        "my.toml.step.0.rule.3: density: must be given, or sparsity (density and sparsity given)",
        "my.toml.step.0.rule.4.densty=0.1: unknown key; did you mean density?",
        'my.toml.step.0.rule.5: block: must be given as [rows, columns] with granularity = "block", and only then',
        "my.toml.step.0.rule.6: granularity='fine-grained': must be N:M, as in 2:4, or one of fine, block, row, "
        "neuron, column, channel, filter, layer",
        "my.toml.step.0.rule.7: density: must be given, or sparsity (neither given)",
        "my.toml.step.0.rule.8: block=[0, 4]: must be >= 1",
        "my.toml.step.1.kind='shar': must be one of prune, finetune, share, permute",
        "my.toml.step.2.rule.0.bits=9: must be <= 8",
        "my.toml.step.2.rule.0.init='kmeans': must be 'exact', 'linear', 'density' or 'random'",
        "my.toml.step.3.rule: must hold at least one",
        "my.toml.step.4: rounds=3: one shot has one; set schedule to iterative or cubic",
        "my.toml.step.5: scope='global': 2:4 holds for every group by itself; use scope = \"layer\"",
        "my.toml.step.6: balance_n_pe=4: only fine-grained pruning with scope 'layer' can be balanced (here: row)",
        "my.toml.step.7.n_pe=2.5: must be an integer",
        "my.toml.step.8.epochs: missing",
        "my.toml.step.9=7: must be a table",
        "my.toml.nam='x': unknown key; did you mean name?",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"step = [", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        (b"", r"r.toml.step: missing"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, message):
    if content is not None:
        (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(eie.EieError, match=message):
        load_recipe(tmp_path / "r.toml")


def test_the_first_rule_that_matches_counts():
    recipe = Recipe.from_mapping(
        {"step": [{"kind": "share", "rule": [{"layers": "fc2", "bits": 8}, {"layers": "fc*", "bits": 5}]}]}
    )
    layers = [eie.Layer.from_weights(name, [[1.0]]) for name in ("conv1", "fc1", "fc2")]
    found = assign(recipe.step[0].rule, layers, "r")
    assert {name: rule.bits for name, rule in found.items()} == {"fc1": 5, "fc2": 8}


def test_patterns_that_match_nothing_are_all_named():
    recipe = Recipe.from_mapping({"step": [{"kind": "share", "rule": [{"layers": "a*"}, {"layers": "b"}, {}]}]})
    with pytest.raises(eie.EieError, match=r"layers='a\*': matches none of x\n.*layers='b': matches none of x"):
        assign(recipe.step[0].rule, [eie.Layer.from_weights("x", [[1.0]])], "r")


def test_schedules_fall_to_the_target_and_never_rise():
    for schedule in ("iterative", "cubic"):
        ramp = [
            scheduled_density(schedule=schedule, start=1.0, target=0.1, round_=number, rounds=6)
            for number in range(1, 7)
        ]
        assert ramp == sorted(ramp, reverse=True)
        assert ramp[-1] == 0.1
    assert scheduled_density(schedule="cubic", start=0.9, target=0.1, round_=1, rounds=2) == pytest.approx(
        0.1 + 0.8 / 8
    )
    assert scheduled_density(schedule="iterative", start=0.9, target=0.1, round_=1, rounds=2) == pytest.approx(0.5)
