"""Notes by kind: one sentence for many layers, none twice, none lost."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import eie
from eie.show.notes import grouped, note_lines

CONVS = [f"conv{i}" for i in range(1, 13)]


def test_one_sentence_with_the_layers_it_holds_for():
    notes = [f"{name}: weights do not fit: {1000 + i:,} entries" for i, name in enumerate(CONVS)]
    assert note_lines(notes, CONVS) == (
        "12 layers (conv1, conv2, ... conv12): weights do not fit: 1,000 to 1,011 entries.",
    )
    assert note_lines(notes[:1], CONVS) == ("conv1: weights do not fit: 1,000 entries.",)
    assert note_lines(notes[:3], CONVS) == (
        "3 layers (conv1, conv2, conv3): weights do not fit: 1,000 to 1,002 entries.",
    )


def test_kinds_stand_where_their_first_note_stood():
    notes = ["drawn", "a: saturated: 3", "b: cut into 2 passes", "drawn", "c: saturated: 3", "d: saturated"]
    assert note_lines(notes, "abcd") == (
        "drawn.",
        "2 layers (a, c): saturated: 3.",
        "b: cut into 2 passes.",
        "d: saturated.",
    )


def test_what_is_of_the_whole_keeps_its_numbers_apart():
    assert note_lines(["clock 800 MHz", "clock 900 MHz"]) == ("clock 800 MHz.", "clock 900 MHz.")


def test_a_name_may_hold_colons_and_only_known_names_count():
    names = ("net:0", "net:0: x")
    (group,) = grouped(["net:0: x: too large"], names)
    assert (group.names, group.sentence) == (("net:0: x",), "too large")
    assert grouped(["other: too large"], names)[0].names == ()


def test_lists_of_layers_within_a_note_are_cut():
    ways = f"conv auto: scatter {', '.join(CONVS[:6])}; im2col {', '.join(CONVS[6:8])}"
    assert note_lines([ways], CONVS) == ("conv auto: scatter conv1, conv2, ... conv6 (6 layers); im2col conv7, conv8.",)
    other = "left out: a, b, c, d, e, f"
    assert note_lines([other], CONVS) == (f"{other}.",)


@given(
    st.lists(st.tuples(st.sampled_from(CONVS), st.sampled_from(("slow: {}", "{} of {} lost")), st.integers(0, 10**6)))
)
def test_every_layer_and_every_kind_is_told_once(drawn):
    notes = [f"{name}: {text.replace('{}', str(number))}" for name, text, number in drawn]
    groups = grouped(notes, CONVS)
    kinds = [re.sub(r"[\d,]+( to [\d,]+)?", "#", group.sentence) for group in groups]
    assert len(set(kinds)) == len(kinds)
    told = {(kind, name) for kind, group in zip(kinds, groups, strict=True) for name in group.names}
    assert told == {(text.replace("{}", "#"), name) for name, text, _ in drawn}
    for group in groups:
        numbers = [
            number for name, text, number in drawn if text.startswith("slow") == group.sentence.startswith("slow")
        ]
        assert str(min(numbers)) in group.sentence
        assert str(max(numbers)) in group.sentence


def test_a_deep_network_says_it_in_a_line():
    rng = np.random.default_rng(0)
    layers = [eie.Layer.from_weights(f"fc{i}", rng.standard_normal((64, 64))) for i in range(20)]
    spec = eie.EIE_64PE.replace(n_pe=1, act_registers=16, residency="ideal")
    result = eie.simulate(eie.Network(name="deep", layers=tuple(layers), sequential=True), rng.random(64), spec=spec)
    about = [note for note in result.notes() if "passes" in note or "fit" in note]
    assert len(about) == 20
    shown = [note for section in result.sections() for note in section.notes if "passes" in note or "fit" in note]
    (note,) = shown
    assert note.startswith("20 layers (fc0, fc1, ... fc19): ")


def test_a_range_of_several_is_one_range():
    notes = ["a: 6,069 to 6,728 nJ in all of 3", "b: 8,072 to 10,448 nJ in all of 4", "c: 70 to 9,000 nJ in all of 3"]
    (line,) = note_lines(notes, "abc", what="machines")
    assert line == "3 machines (a, b, c): 70 to 10,448 nJ in all of 3 to 4."
