"""What texts on pruning say of granularities, checked on one study.

Comes in: a `Rows`. Goes out: `Statement` records: the claim with the bound it is judged by, whether it
holds (None where the study cannot show it), and the numbers. Read by `tables`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from eie.machines import noise
from eie.machines.choose import called
from eie.machines.records import LayerCost
from eie.show.numbers import percent
from eie.show.sections import Statement
from eie.studies.granularity.evidence import (
    TOO_NOISY,
    accuracy_by_density,
    dense_forms,
    forms_of,
    has_n_of_m,
    in_figures,
    in_times,
    intervals_of,
    judged,
    kept_share,
    layer_speedups,
    not_shown,
    speedups_of,
    tuning,
)
from eie.studies.granularity.notes import pruning_notes
from eie.studies.granularity.rows import Rows
from eie.studies.machines import EIE, is_sparse

TEXT, LECTURE = "granularities", "lecture"
# Accuracy that may be lost, in shares; published losses of Deep Compression and its like are below it.
TOLERATED_LOSS = 0.01
# Measured times of equal work differ by this much on a busy machine.
NOISE = 0.15
# "Alike" is not a number in the text: half as much again is the most that a reader would still call so.
ALIKE = 1.5
# The lower end of "9 to 12 times": the claim's most modest reading.
LEAST_COMPRESSION = 9
NO_LABELS = "accuracy is not known"
CAME_PRUNED = "the network came pruned: what fine-grained pruning gives began before"
# Layers' densities come in steps, so two plans for one budget hardly ever take exactly the same time.
SAME_LATENCY = 0.01


def statements(study: Rows) -> tuple[Statement, ...]:
    """Judge every claim."""
    checks: tuple[Callable[[Rows], Statement], ...] = (
        _highest_compression,
        _nine_to_twelve_times,
        _ten_times_smaller,
        _nothing_on_dense_machines,
        _nothing_through_csr,
        _pays_on_eie,
        _at_most_twice,
        _half_as_fast_again,
        _channels_on_any_machine,
        _channels_alike,
        _layers_on_any_machine,
        _non_uniform,
    )
    return tuple(check(study) for check in checks)


def left_open(study: Rows) -> set[tuple[int, str]]:
    """Return which of `found`, by place and machine, more runs could move so that a statement has its verdict.

    Those that it hangs on: with the speedup at either end of its interval the statement is another. What they are
    compared with is among them, since only runs of one turn are pairs.
    """
    if not any(_is_noisy(statement) for statement in statements(study)):
        return set()
    measured = [
        (i, machine) for i, row in enumerate(study.found) for machine in study.machines if study.runs_us(row, machine)
    ]
    hangs = [place for place in measured if _decides(study, *place)] or measured
    return {*hangs, *((0, study.yardstick(machine)) for _, machine in hangs)}


def _is_noisy(statement: Statement) -> bool:
    return statement.holds is None and statement.found.startswith(TOO_NOISY)


def _decides(study: Rows, i: int, machine: str) -> bool:
    """Say whether a statement is another at the one end of a speedup's interval than at the other."""
    row = study.found[i]
    between, pairs = study.speedup_interval(row, machine), study.runs_us(study.unpruned, study.yardstick(machine))
    # The yardstick itself is 1, however noisy.
    if between is None or between.low == between.high:
        return False
    verdicts = []
    for speedup in (between.low, between.high):
        runs = tuple(before / speedup for before in pairs)
        cost = LayerCost(layer="", latency_us=noise.middle(runs), samples_us=runs)
        sure = replace(row, costs={**(row.costs or {}), machine: replace((row.costs or {})[machine], layers=(cost,))})
        rows = tuple(sure if other is row else other for other in study.rows)
        verdicts.append([statement.holds for statement in statements(replace(study, rows=rows))])
    return verdicts[0] != verdicts[1]


def break_even(study: Rows, machine: str) -> float | None:
    """Sparsity from which on fine-grained pruning pays on a machine: between the last loss and the first gain.

    Interpolated in the logarithm of the speedup over density; None if no sparsity that was tried pays, or the network
    came pruned; 0 if all do.
    """
    if study.came_pruned:
        return None
    rows = [row for row in forms_of(study, "fine") if study.speedup(row, machine)]
    # Variants are as they were asked for; the first crossing is only found from dense to sparse.
    rows.sort(key=lambda row: row.variant.sparsity)
    before = study.unpruned
    for row in rows:
        low, high = study.speedup(before, machine), study.speedup(row, machine)
        if low is not None and high is not None and high >= 1:
            # Paid before anything was pruned: nothing was lost from which to interpolate.
            if low >= 1:
                return before.variant.sparsity
            # Time is roughly a power of density (every entry costs the same), so both axes are taken in logarithms:
            # there a line is straight. `low` < 1 <= `high`, so the divisor is not 0.
            share = math.log(1 / low) / math.log(high / low)
            first, last = (math.log(1 - end.variant.sparsity) for end in (before, row))
            return 1 - math.exp(first + share * (last - first))
        before = row
    return None


def _highest_compression(study: Rows) -> Statement:
    claim = (
        "fine-grained pruning reaches the highest compression (with as many weights left no other is more than "
        f"{percent(TOLERATED_LOSS, 0)} % more accurate)"
    )
    if study.unpruned.accuracy is None or study.came_pruned:
        return not_shown(TEXT, claim, CAME_PRUNED if study.came_pruned else NO_LABELS)
    curve = accuracy_by_density(study)
    gains: dict[str, float] = {}
    # The first is the unpruned network, an end of the fine-grained curve itself.
    for row in study.found[1:]:
        density = kept_share(study, row)
        # Within the curve only: np.interp would go on flat below its first point and make a loss up. 0 has no
        # logarithm.
        if row.variant.granularity != "fine" and row.accuracy is not None and 0 < curve[0][0] <= density:
            fine = float(np.interp(np.log(density), np.log([x for x, _ in curve]), [y for _, y in curve]))
            gains[str(row.variant)] = row.accuracy - fine
    if len(curve) < 2 or not gains:
        return not_shown(TEXT, claim, "needs fine-grained variants and others")
    best = max(gains, key=lambda name: gains[name])
    numbers = (
        f"{len(gains)} others: from {percent(min(gains.values()), 1, '+')} % to "
        f"{percent(gains[best], 1, '+')} % ({best}); {tuning(study)}"
    )
    return Statement(place=TEXT, claim=claim, holds=gains[best] <= TOLERATED_LOSS, found=numbers)


def _nine_to_twelve_times(study: Rows) -> Statement:
    claim = (
        f"it leaves 9 to 12 times fewer weights, as of AlexNet and VGG-16 (at least {LEAST_COMPRESSION} times, losing "
        f"at most {percent(TOLERATED_LOSS, 0)} %)"
    )
    before, rows = study.unpruned.accuracy, forms_of(study, "fine")
    if study.came_pruned:
        return not_shown(TEXT, claim, CAME_PRUNED)
    # Without fine-tuning the claim is not about this study: the texts retrain.
    if before is None or not rows or not study.epochs:
        return not_shown(TEXT, claim, "needs fine-grained variants that are fine-tuned (--data FOLDER)")
    ratios = [
        study.compression(row) or 1
        for row in rows
        if row.accuracy is not None and row.accuracy >= before - TOLERATED_LOSS
    ]
    best = max(ratios, default=1.0)
    return Statement(
        place=TEXT, claim=claim, holds=best >= LEAST_COMPRESSION, found=f"{best:.1f} times; {tuning(study)}"
    )


def _ten_times_smaller(study: Rows) -> Statement:
    claim = "at 90 % sparsity a format such as CSR makes the model 10 times smaller (within 10 %)"
    row = next((row for row in forms_of(study, "fine") if row.variant.sparsity == 0.9), None)
    before = study.unpruned.size_bytes
    if row is None or row.size_bytes is None or before is None or study.came_pruned:
        return not_shown(LECTURE, claim, CAME_PRUNED if study.came_pruned else "needs the variant fine:0.9")
    csr, eie = (before["dense"] / row.size_bytes[name] for name in ("csr", "eie"))
    return Statement(
        place=LECTURE,
        claim=claim,
        holds=csr >= 0.9 * 10,
        found=f"{csr:.2f} times: 32-bit indices take as much as the values; "
        f"EIE's format with 4-bit codes: {eie:.2f} times",
    )


def _nothing_on_dense_machines(study: Rows) -> Statement:
    claim = (
        f"fine-grained pruning brings no speedup on dense hardware (at most {percent(NOISE, 0)} %, the noise "
        "of measuring)"
    )
    dense = [machine for machine in study.machines if machine != EIE and not is_sparse(machine)]
    fine = forms_of(study, "fine")
    # 90 % of zeros can make a small layer 2:4 by accident; a tensor core that takes it so is no dense machine
    # there.
    speedups = {
        machine: intervals_of(study, [row for row in fine if not has_n_of_m(row, machine)], machine)
        for machine in dense
    }
    speedups = {machine: values for machine, values in speedups.items() if values}
    if not speedups:
        return not_shown(TEXT, claim, "needs fine-grained variants and a dense machine")
    # Of any form on any machine: one speedup is enough to refute.
    everything = [value for values in speedups.values() for value in values]
    text = ", ".join(f"{called(machine)} {in_times(noise.hull(values))}" for machine, values in speedups.items())
    return judged(TEXT, claim, noise.all_at_most(everything, 1 + NOISE), numbers=text, doubtful=everything)


def _nothing_through_csr(study: Rows) -> Statement:
    claim = "nor through CSR on a CPU, whose indirection eats the gain (here: up to 90 % sparsity)"
    if study.came_pruned:
        return not_shown(LECTURE, claim, CAME_PRUNED)
    machine = next((name for name in study.machines if name.startswith("measured:csr")), None)
    rows = [row for row in forms_of(study, "fine") if row.variant.sparsity <= 0.9]
    # Its own yardstick: the dense product was not measured, and CSR over CSR would answer another question.
    if machine is None or not speedups_of(study, rows, machine) or study.yardstick(machine) == machine:
        return not_shown(LECTURE, claim, "needs fine-grained variants, measured:dense and measured:csr")
    intervals = intervals_of(study, rows, machine)
    best = max(speedups_of(study, rows, machine))
    where = break_even(study, machine)
    most = max(row.variant.sparsity for row in forms_of(study, "fine"))
    even = f"at {percent(where, 0)} % sparsity" if where is not None else f"nowhere up to {percent(most, 0)} %"
    # No room for noise, unlike above: the claim is a loss, not a draw. 1 itself is none.
    holds = noise.all_at_most(intervals, float(np.nextafter(1, 0)))
    dense = (study.unpruned.costs or {})[study.yardstick(machine)].machine.source.split(", ")
    text = f"at best {best:.2f}x of the dense layers' speed ({', '.join(dense[1:-1])}); breaks even {even}"
    return judged(LECTURE, claim, holds, numbers=text, doubtful=intervals)


def _pays_on_eie(study: Rows) -> Statement:
    claim = "on hardware made for it, such as EIE, fine-grained pruning does bring speed (more than 1.5x at 90 %)"
    row = next((row for row in forms_of(study, "fine") if row.variant.sparsity == 0.9), None)
    if row is None or study.came_pruned:
        return not_shown(TEXT, claim, CAME_PRUNED if study.came_pruned else "needs the variant fine:0.9")
    speedup, after = study.speedup(row, EIE), study.latency_us(row, EIE)
    if study.incomplete:
        return not_shown(TEXT, claim, study.incomplete[0])
    text = f"{speedup:.2f}x over the unpruned network on EIE"
    if "dense" in study.machines:
        before = study.latency_us(study.unpruned, "dense")
        # The same PEs, clock and node: what is left between the two is compression alone.
        text += f", {(before or 0) / (after or 1):.2f}x over it on the same PEs without compression"
    return Statement(place=TEXT, claim=claim, holds=(speedup or 0) > 1.5, found=text)


def _at_most_twice(study: Rows) -> Statement:
    claim = "2:4 is at most twice as fast on hardware that knows it"
    layers = layer_speedups(study)
    if not layers:
        return not_shown(TEXT, claim, "needs the variant 2:4 and the machine tensor-core")
    return Statement(
        place=TEXT,
        claim=claim,
        # A layer bound by its weights' MACs is exactly twice as fast; a quotient of floats may end a hair above.
        holds=max(layers) <= 2 + 1e-9,
        found=f"by layer {min(layers):.2f}x to {max(layers):.2f}x (of a bound)",
    )


def _half_as_fast_again(study: Rows) -> Statement:
    claim = "2:4 is about 1.5 times as fast in practice"
    notes = pruning_notes()
    reported = "; ".join(f"{report.what}: {report.speedup:g}x ({report.source})" for report in notes.two_of_four)
    gone = "; ".join(f"{removal.what} ({removal.source})" for removal in notes.removals)
    modelled_by = {
        machine: speedups[0]
        for machine in study.machines
        if machine.startswith("tensor-core") and (speedups := speedups_of(study, forms_of(study, "2:4"), machine))
    }
    bounds = ", ".join(f"{called(machine)} {speedup:.2f}x" for machine, speedup in modelled_by.items())
    text = f"the model says {bounds}, with nothing between the layers; " if modelled_by else ""
    # Never judged, whatever the model says: "in practice" takes a device.
    return not_shown(
        TEXT,
        claim,
        f"{text}no tensor core is measured here. Reported elsewhere: {reported}. Since then removed: {gone}",
    )


def _channels_on_any_machine(study: Rows) -> Statement:
    return _on_any_machine(study, "channels", "channel pruning is faster on any hardware (more than 1.05x)")


def _layers_on_any_machine(study: Rows) -> Statement:
    return _on_any_machine(study, "layers", "taking layers out is faster on any hardware (more than 1.05x)")


def _on_any_machine(study: Rows, family: str, claim: str) -> Statement:
    speedups = {machine: intervals_of(study, forms_of(study, family), machine) for machine in dense_forms(study)}
    speedups = {machine: values for machine, values in speedups.items() if values}
    if not speedups:
        # The note says why this network has no such form, which is more than that it has none.
        missing = next((row.note for row in study.rows if row.variant.family == family), f"needs {family} pruned")
        return not_shown(TEXT, claim, missing)
    # "Any" is refuted by one, so the machine that gains least speaks for all.
    slowest = min(speedups, key=lambda machine: min(value.low for value in speedups[machine]))
    least = min(speedups[slowest], key=lambda value: value.low)
    everything = [value for values in speedups.values() for value in values]
    text = f"least: {in_times(least)}, on {called(slowest)}; {len(speedups)} machines"
    return judged(TEXT, claim, noise.all_above(everything, 1.05), numbers=text, doubtful=[least])


def _channels_alike(study: Rows) -> Statement:
    claim = f"channel pruning speeds up all machines alike (the most is at most {ALIKE} times the least)"
    rows = forms_of(study, "channels")
    if not rows:
        return not_shown(TEXT, claim, "needs channels pruned")
    # Nearest to half, as in the text's example; which shares were asked for is the caller's choice.
    row = min(rows, key=lambda form: abs(form.variant.sparsity - 0.5))
    speedups = {machine: study.speedup_interval(row, machine) for machine in dense_forms(study)}
    known = {machine: speedup for machine, speedup in speedups.items() if speedup is not None}
    if not known:
        return not_shown(TEXT, claim, study.incomplete[0])
    spread = noise.most_over_least(list(known.values()))
    fewer = (study.unpruned.macs or 0) / (row.macs or 1)
    listed = ", ".join(f"{called(machine)} {in_times(speedup)}" for machine, speedup in known.items())
    text = f"{row.variant}, {fewer:.2f} times fewer MACs: {listed}; most over least {in_figures(spread)}"
    return judged(TEXT, claim, noise.all_at_most([spread], ALIKE), numbers=text, doubtful=[spread])


def _non_uniform(study: Rows) -> Statement:
    claim = "a density for each layer beats one density for all at equal latency (more right answers, chance below 5 %)"
    search = study.search
    if search is None:
        return not_shown(TEXT, claim, study.search_note)
    own, alike = search.found.final, search.uniform.final
    by_chance = search.by_chance
    # A study searches only where accuracy is known.
    assert own.accuracy is not None
    assert alike.accuracy is not None
    assert own.right is not None
    assert by_chance is not None
    text = (
        f"{percent(own.accuracy, 2)} % against {percent(alike.accuracy, 2)} % at {search.found.verified:.4g} and "
        f"{search.uniform.verified:.4g} us ({search.granularity} on {called(search.machine)}; "
        f"{len(own.right):,} samples; "
        f"by chance: {by_chance:.2g})"
    )
    # McNemar's exact test on the same samples: a difference that chance explains shows nothing, either way.
    better = own.accuracy > alike.accuracy
    dearer = search.found.verified > (1 + SAME_LATENCY) * search.uniform.verified
    if by_chance >= 0.05 or dearer:
        return not_shown(TEXT, claim, text)
    return Statement(place=TEXT, claim=claim, holds=better, found=text)
