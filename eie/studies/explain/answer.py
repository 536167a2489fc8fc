"""What binds each layer, and what to change: the answer of ``eie.explain``.

Comes in: `Diagnosis` records and `Advised`. Goes out: a frozen `Explanation`. Read by the command line, notebooks and
figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from eie.results.priced import known_or_none
from eie.show.face import Answer
from eie.show.notes import MOST_NAMES, listed, note_lines
from eie.show.numbers import factor, percent
from eie.show.sections import Column, Grid, Section, Value
from eie.spec import AcceleratorSpec
from eie.studies.explain.advise import OBJECTIVES, Advice, Advised, Objective
from eie.studies.explain.diagnosis import Diagnosis
from eie.studies.explain.knobs import Change

# Beyond so many layers a sentence each is a wall of text that says the same again and again.
MOST_SAID = 12
LONGEST_SAID = 3


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Explanation(Answer):
    """Why a network takes the time it takes, and what to change.

    Attributes
    ----------
    network
        Its name.
    spec
        The machine as it is.
    layers
        What binds each layer.
    whole
        What binds the network; None where its layers do not add up to one.
    objective
        What advice is ranked by: ``"edp"``, ``"latency"``, ``"energy"`` or ``"area"``.
    advised
        The changes that help, each run again; None where nothing could be run.
    notes
        What a reader must know before believing the numbers.
    """

    SCHEMA: ClassVar[str] = "eie-explanation"

    network: str
    spec: AcceleratorSpec
    layers: tuple[Diagnosis, ...]
    whole: Diagnosis | None
    objective: Objective
    advised: Advised | None
    notes: tuple[str, ...] = ()

    @property
    def advice(self) -> tuple[Advice, ...]:
        """The changes that help, best first; empty where none does, or nothing could be run."""
        return () if self.advised is None else self.advised.ranked

    def headline(self) -> str:
        """Say what is explained, and by what advice is ranked."""
        advice = "" if self.advised is None else f", and what to change for less {OBJECTIVES[self.objective]}"
        return f"{self.network} on {self.spec.headline()}: what binds it{advice}"

    def sections(self) -> tuple[Section, ...]:
        """Return a sentence for the network and for each layer, their table, and the advice."""
        diagnosed = (*([] if self.whole is None else [self.whole]), *self.layers)
        # A network of one layer is that layer.
        said = diagnosed if len(self.layers) > 1 else self.layers
        left = 0
        if self._deep:
            named = self._telling()
            said = tuple(each for each in diagnosed if each is self.whole or each.name in named)
            left = len(diagnosed) - len(said)
        binds = Section(
            name="binds",
            title="What binds it",
            grids=(self._layers_grid(),),
            # What a word means is said where it stands first.
            lines=tuple(
                each.sentence(cause=all(each.bound_by != before.bound_by for before in said[:place]))
                for place, each in enumerate(said)
            )
            + (
                (f"The other {left} layers stand in the table; of each cause the longest is named here.",)
                if left
                else ()
            ),
        )
        notes = note_lines(self.notes, [layer.name for layer in self.layers])
        if self.advised is None:
            return (binds, Section(name="advice", title="What to change", notes=notes))
        lines = self._lines(self.advised)
        return (binds, Section(name="advice", title="What to change", grids=self._advice(), lines=lines, notes=notes))

    @property
    def _deep(self) -> bool:
        return len(self.layers) > MOST_SAID

    def _telling(self) -> frozenset[str]:
        """Return the layers of a deep network that sentences are of: the longest, and of each cause the longest."""
        longest = sorted(self.layers, key=lambda layer: -layer.cycles)
        by_cause = {layer.bound_by: layer.name for layer in reversed(longest)}
        return frozenset([*(layer.name for layer in longest[:LONGEST_SAID]), *by_cause.values()])

    def _advice(self) -> tuple[Grid, ...]:
        """Return what leaves the network as it is, and what does not, each best first."""
        same = [each for each in self.advice if not each.retrains]
        other = [each for each in self.advice if each.retrains]
        captions = (
            ("Run again with each change; times what it is now", same),
            ("The same with fewer weights: computes something else, needs fine-tuning", other),
        )
        return tuple(_advice_grid(caption, rows) for caption, rows in captions if rows)

    def _layers_grid(self) -> Grid:
        columns = (
            Column("layer", "layer", "text"),
            Column("cycles", "cycles", "count"),
            Column("time", "of the time %", "percent"),
            Column("bound", "bound by", "word"),
            # Of a deep network, whose table must not fall into two: the column about queues says the same.
            *(() if self._deep else (Column("least", "at least", "count"),)),
            Column("balance", "even work saves %", "percent"),
            Column("queue", "queues save at most %", "percent"),
            Column("useful", "useful PE cycles %", "percent"),
        )
        total = sum(layer.cycles for layer in self.layers)
        rows: tuple[dict[str, Value], ...] = tuple(
            {**_row(layer), "time": layer.cycles / total} for layer in self.layers
        )
        last = None if self.whole is None else {**_row(self.whole), "layer": "total", "time": 1.0}
        return Grid(columns=columns, rows=rows, total=last)

    def _lines(self, advised: Advised) -> tuple[str, ...]:
        goal = OBJECTIVES[self.objective]
        lines = []
        if not advised.ranked:
            lines.append(f"No change that was tried takes 1 % less {goal} ({advised.tried} settings).")
        best = next((each for each in advised.ranked if each.typed), None)
        if best is not None:
            lines.append(f"To try it: add {best.typed} to eie run, compare or sweep.")
        if any("rows" in (change.knob for change in each.changes) for each in advised.ranked):
            lines.append(
                "Rows are put in another order by a recipe's permute step (eie compress); the outputs of the last "
                "layer then come in another order."
            )
        if advised.useless:
            said = ", ".join(f"{each.words} {factor(each.gain(self.objective)[0])}" for each in advised.useless)
            lines.append(f"Tried without a gain in {goal}: {said}.")
        if advised.dropped:
            said = ", ".join(each.words for each in advised.dropped)
            lines.append(f"Tried on a part of layers or inputs alone, without a gain in {goal}: {said}.")
        # Of the area every layer would say the same.
        if advised.ranked and len(self.layers) > 1 and self.objective != "area":
            lines.append(f"Best for each layer alone: {self._alone(advised)}.")
        return tuple(lines)

    def _alone(self, advised: Advised) -> str:
        """Say which of the changes would be best if the chip were for one layer; layers with the same one together."""
        said: dict[str, list[tuple[str, float]]] = {}
        for place, layer in enumerate(self.layers):
            # What is done to another layer is nothing that this one asks for.
            own = [each for each in advised.ranked if all(c.layer in ("", layer.name) for c in each.changes)]
            best = min(own, key=lambda each: (self._ratio(each, place), len(each.changes)), default=None)
            ratio = 1.0 if best is None else self._ratio(best, place)
            words = "none of them"
            if best is not None and ratio < 1:
                words = "; ".join(_own_words(change) for change in best.changes)
            said.setdefault(words, []).append((layer.name, ratio))
        return ". ".join(_for_layers(words, layers) for words, layers in said.items())

    def _ratio(self, advice: Advice, place: int) -> float:
        latency, energy = advice.by_layer[place]
        ratios: Mapping[Objective, float] = {
            "edp": latency * energy,
            "latency": latency,
            "energy": energy,
            "area": advice.area,
        }
        return ratios[self.objective]

    def records(self) -> list[dict[str, Any]]:
        """Return a flat record for the network, for each layer, and for each change."""
        whole = [] if self.whole is None else [{"what": "network", **self.whole.record()}]
        layers = [{"what": "layer", **layer.record()} for layer in self.layers]
        rows: list[dict[str, Any]] = [*whole, *layers, *({"what": "change", **row} for row in self._changes())]
        # Every record has every key: whoever reads a column need not ask which rows have it.
        keys = dict.fromkeys(key for row in rows for key in row)
        return [{**keys, **row} for row in rows]

    @property
    def _told(self) -> list[Advice]:
        return [] if self.advised is None else [*self.advised.ranked, *self.advised.useless]

    def _changes(self) -> list[dict[str, Any]]:
        gains = len(self.advice)
        return [{"rank": rank if rank <= gains else None, **each.record()} for rank, each in enumerate(self._told, 1)]

    def content(self) -> dict[str, Any]:
        """Return diagnosis, advice and notes."""
        names = [layer.name for layer in self.layers]
        return {
            "network": self.network,
            "spec": self.spec.model_dump(),
            "objective": self.objective,
            "whole": None if self.whole is None else self.whole.record(),
            "layers": [layer.record() for layer in self.layers],
            "changes": None if self.advised is None else self._changes(),
            "by_layer": [row for each in self._told for row in each.layer_records(names)],
            "settings_tried": None if self.advised is None else self.advised.tried,
            "notes": list(self.notes),
        }


def _own_words(change: Change) -> str:
    """Say a change behind the name of the layer that it is of."""
    return change.words.removeprefix(f"{change.layer} ") if change.layer else change.words


def _for_layers(words: str, layers: Sequence[tuple[str, float]]) -> str:
    """Say a change and what it gains, of the layers that it is best for."""
    ratios = sorted({factor(ratio) for _, ratio in layers if ratio < 1}, key=lambda text: float(text.rstrip("x")))
    gain = f" ({ratios[0] if len(ratios) == 1 else f'{ratios[0]} to {ratios[-1]}'})" if ratios else ""
    names = listed([name for name, _ in layers])
    # Of a longer list, of which the ends are told, how long it is.
    return f"{f'{len(layers)} layers ({names})' if len(layers) > MOST_NAMES else names}: {words}{gain}"


def _row(each: Diagnosis) -> dict[str, Value]:
    return {
        "layer": each.name,
        "cycles": each.cycles,
        "bound": f"{each.bound_by} {percent(each.bound_parts[each.bound_by], 0)} %",
        "least": each.lower_bound_cycles,
        "balance": each.balance_saves,
        "queue": each.queue_saves,
        "useful": None if each.shares is None else each.shares["useful"],
    }


def _advice_grid(caption: str, advice: Sequence[Advice]) -> Grid:
    columns = [
        Column("change", "change", "prose"),
        Column("latency", "latency", "factor"),
        Column("energy", "energy", "factor"),
        Column("area", "area", "factor"),
        Column("edp", "energy x delay", "factor"),
    ]
    # Where all fits, before and after, there is nothing to say.
    if not all(each.fits and each.fitted for each in advice):
        columns.append(Column("fits", "fits", "yes"))
    rows: tuple[dict[str, Value], ...] = tuple(
        {
            "change": each.words,
            "latency": each.latency,
            "energy": known_or_none(each.energy),
            "area": known_or_none(each.area),
            "edp": known_or_none(each.edp),
            "fits": each.fits,
        }
        for each in advice
    )
    return Grid(caption=caption, columns=tuple(columns), rows=rows)
