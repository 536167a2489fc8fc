"""What a simulated result says of EIE, as typed rows, whether it was simulated just now or read from a file.

Comes in: the flat records of a result (a JSON or CSV file's), or a `Result` through `eie.studies.compare.rows_of`. Goes
out: frozen `ResultRow` and `ResultRows`. Read by `reports` (EIE as a machine) and `workload` (what others are to run).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eie.errors import EieError, SpecError
from eie.formats.files import first_line, unmet
from eie.show.brief import Brief
from eie.spec import AcceleratorSpec

# By preference: what every action costs, else what the published power makes of the time.
ENERGIES = ("energy_activity_nj", "energy_published_power_nj")
# Low and high, of the first of them.
BOUNDS = ("energy_activity_low_nj", "energy_activity_high_nj")
# How a record begins that stands for a layer which was not run: it has this text for a name, and no numbers.
NOT_MODELLED = "not modelled: "


@dataclass(frozen=True, kw_only=True, repr=False)
class ResultRow(Brief):
    """One layer of a result, a sample.

    Attributes
    ----------
    outputs, inputs
        Of the whole layer, all groups together.
    products
        Matrix-vector products, steps of an LSTM included.
    kind
        ``"linear"``, ``"conv2d"``, ``"winograd"`` or ``"lstm"``.
    groups
        Independent products side by side.
    fresh_inputs, activation_density
        As `eie.machines.workload.LayerWork` has them.
    dram_bits
        That came from or went to DRAM, of which ``map_dram_bits`` are of maps and kept the bus busy for
        ``map_bus_cycles``.
    energy_nj
        By the first method of `ENERGIES` that prices it, or None.
    energy_bounds_nj
        The smaller and the larger of two readings of it, or None where it has none.
    uses
        How often the layer runs in a sample; ``products`` are those of all uses.
    """

    layer: str
    outputs: int
    inputs: int
    products: int
    kind: str
    groups: int
    fresh_inputs: int | None
    bias: bool
    weight_density: float
    activation_density: float | None
    cycles: float
    latency_us: float
    efficiency: float
    reload_cycles: float
    energy_nj: float | None
    dram_bits: float
    map_dram_bits: int = 0
    map_bus_cycles: int = 0
    uses: int = 1
    energy_bounds_nj: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(outputs, inputs, products), as layers are matched by."""
        return self.outputs, self.inputs, self.products

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> ResultRow:
        """Read a record as `eie.Result.records` makes it; a CSV's are texts, and older files lack some keys.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing or has the wrong kind.
        """
        outputs, inputs = _count(record["outputs"], "outputs"), _count(record["inputs"], "inputs")
        products, groups = _count(record.get("products", 1), "products"), _count(record.get("groups", 1), "groups")
        if groups < 1 or min(outputs // groups, inputs // groups, products) < 1:
            raise ValueError(f"layer {record['layer']!r}: {outputs} x {inputs}, {products} products, {groups} groups")
        density, fresh = record.get("activation_density"), record.get("fresh_inputs")
        return cls(
            layer=str(record["layer"]),
            outputs=outputs,
            inputs=inputs,
            products=products,
            kind=str(record.get("kind", "linear")),
            groups=groups,
            fresh_inputs=None if fresh in (None, "") else _count(fresh, "fresh_inputs"),
            bias=str(record.get("bias", False)) == "True",  # a CSV holds the word
            weight_density=_real(record.get("weight_density", 1.0), "weight_density", 1),
            activation_density=None if density in (None, "") else _real(density, "activation_density", 1),
            cycles=_real(record["cycles"], "cycles"),
            latency_us=_real(record["latency_us"], "latency_us"),
            efficiency=_real(record["efficiency"], "efficiency"),
            reload_cycles=_real(record.get("reload_cycles") or 0, "reload_cycles"),
            energy_nj=next(
                (_real(record[name], name) for name in ENERGIES if record.get(name) not in (None, "")), None
            ),
            # 0 in results of eie 0.1, which moved nothing.
            dram_bits=_real(record.get("dram_bits") or 0, "dram_bits"),
            map_dram_bits=round(_real(record.get("map_dram_bits") or 0, "map_dram_bits")),
            map_bus_cycles=round(_real(record.get("map_bus_cycles") or 0, "map_bus_cycles")),
            # Stated only where some layer has more than one.
            uses=max(1, _count(record.get("uses") or 1, "uses")),
            # Nowhere in results of eie 0.1.
            energy_bounds_nj=_pair([record.get(name) for name in BOUNDS]),
        )


# Beyond any layer; a count fits into 64 bits, and sums of layers stay finite.
_MOST, _LARGEST = 1 << 62, 1e30


def _count(value: Any, key: str) -> int:
    if len(str(value)) > 20 or not 0 <= int(value) <= _MOST:
        raise ValueError(f"{key}={str(value)[:40]}: must be 0 to {_MOST:,}")
    return int(value)


def _real(value: Any, key: str, most: float = _LARGEST) -> float:
    # Written so that NaN is refused, too.
    if not 0 <= float(value) <= most:
        raise ValueError(f"{key}={str(value)[:40]}: must be 0 to {most:g}")
    return float(value)


@dataclass(frozen=True, kw_only=True, repr=False)
class ResultRows(Brief):
    """A result's layers, and what it says of the whole.

    Attributes
    ----------
    source
        Where the network came from, in words.
    area_mm2
        Of the whole machine, or None.
    priced_by
        Key of `ENERGIES` that the rows' energy is of, or None.
    incomplete
        Why the layers do not add up to the network, in words.
    alternatives
        Whether the layers are no network: each had the machine to itself.
    batch
        Samples that ran together.
    energy_bounds_nj
        Of all layers, as of one.
    """

    network: str
    source: str
    spec: AcceleratorSpec
    layers: tuple[ResultRow, ...]
    area_mm2: float | None
    priced_by: str | None
    notes: tuple[str, ...]
    incomplete: tuple[str, ...] = ()
    alternatives: bool = False
    batch: int = 1
    energy_bounds_nj: tuple[float, float] | None = None

    @classmethod
    def of_json(cls, value: Mapping[str, Any], file: str) -> ResultRows:
        """Read a result's JSON; ``file`` is what errors name.

        Raises
        ------
        EieError
            If a field is missing or has the wrong kind.
        """
        try:
            area, records = value.get("area_mm2"), value["layers"]
            estimate = (value.get("energy") or {}).get("activity") or {}
            rows = cls(
                network=str(value.get("network", "network")),
                source=str(value.get("source", "result")),
                spec=AcceleratorSpec.of_file(value["spec"]),
                layers=tuple(ResultRow.of_record(record) for record in records),
                area_mm2=None if area is None else float(sum(area.values())),
                priced_by=next((name for name in ENERGIES if records[0].get(name) is not None), None),
                notes=tuple(str(note) for note in value.get("notes", ())),
                incomplete=tuple(str(reason) for reason in value.get("incomplete", ())),
                # Results of eie 0.1 say neither.
                alternatives=bool((value.get("memory") or {}).get("alternatives", False)),
                batch=int(value.get("batch", 1)),
                energy_bounds_nj=_pair([estimate.get("low_nj"), estimate.get("high_nj")]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise EieError(f"{file}: damaged result: {unmet(error)}") from None
        except SpecError as error:
            raise EieError(f"{file}: damaged result: {first_line(error)}") from None
        except IndexError:
            raise EieError(f"{file}: damaged result: no layers") from None
        return rows


def _pair(bounds: Sequence[Any]) -> tuple[float, float] | None:
    low, high = (None if bound in (None, "") else float(bound) for bound in bounds)
    return None if low is None or high is None else (low, high)
