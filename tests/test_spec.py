"""The specification: bounds, suggestions, everything at once."""

import pytest
from freeze import with_table
from knobs import TRIED, moved

import eie
from eie.energy.tables import published_table
from eie.formats.dram import drams
from eie.formats.sourced import HOW
from eie.spec import reads


def problems(call):
    with pytest.raises(eie.EieError) as caught:
        call()
    return str(caught.value).splitlines()


def test_defaults_are_the_64_pe_machine():
    spec = eie.EIE_64PE
    assert (spec.n_pe, spec.clock_mhz, spec.act_queue_depth, spec.index_bits, spec.weight_bits) == (64, 800, 8, 4, 4)
    assert (spec.entries_per_row, spec.pointer_capacity, spec.activation_capacity) == (8, 16384, 1024)
    # The SRAM holds more than a 16-bit pointer reaches; each layer has a base register of its own.
    assert (spec.entry_capacity, spec.pointer_reach) == (131072, 65535)
    assert spec.lnzd_units == 21
    assert eie.EIE_256PE.lnzd_units == 85
    assert spec.us(7926) == pytest.approx(9.9075)


def test_dram_does_not_follow_the_clock():
    spec = eie.EIE_64PE
    assert (spec.dram_bytes_per_cycle, spec.dram_latency_cycles) == (8, 41)  # 6.4 GB/s at 800 MHz; 40.8 cycles
    slow = spec.replace(clock_mhz=400)
    assert (slow.dram_bytes_per_cycle, slow.dram_latency_cycles) == (16, 21)
    # exact where floats are not: 0.3 / 0.1 is 2.9999999999999996
    assert spec.replace(dram_gb_per_s=0.3, clock_mhz=100.0).dram_bytes_per_cycle == 3
    assert spec.replace(dram_latency_ns=0).dram_latency_cycles == 0


def test_published_drams():
    for name, rows in drams().items():
        assert [row.name for row in rows] == [
            "dram_gb_per_s", "dram_latency_ns", "dram_burst_bytes", "dram_pj_per_bit"
        ], name  # fmt: skip
        assert all(row.how in HOW and row.source.strip() and row.place.strip() and row.unit for row in rows), name
        spec = eie.EIE_64PE.replace(dram=name)
        assert [getattr(spec, row.name) for row in rows] == [row.value for row in rows]
    assert eie.EIE_64PE.replace(dram="lpddr2") == eie.EIE_64PE
    assert eie.EIE_64PE.dram_pj_per_bit == published_table()["dram.read"]


def test_a_dram_by_name(tmp_path):
    spec = eie.load_spec("EIE_64PE", ["dram=hbm2", "dram_gb_per_s=128"])
    assert (spec.dram_gb_per_s, spec.dram_burst_bytes, spec.dram_pj_per_bit) == (128, 32, 3.97)
    file = tmp_path / "fast.toml"
    file.write_text('dram = "lpddr5"\n')
    assert eie.load_spec(file).dram_gb_per_s == 51.2
    assert problems(lambda: eie.load_spec("EIE_64PE", ["dram=hbm9"])) == [
        "spec.dram='hbm9': must be one of lpddr2, lpddr5, hbm2, hbm2e, hbm3"
    ]


def test_half_a_stream_buffer_holds_whole_rows_and_is_part_of_the_sram():
    assert eie.EIE_64PE.stream_half_entries == 4096
    assert eie.EIE_64PE.replace(stream_kib=24 / 1024).stream_half_entries == 8  # 12 bytes: a row of 8
    assert eie.EIE_64PE.replace(spmat_kib=1).stream_half_entries == 512


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"act_queue_depth": 1}, ["spec.act_queue_depth=1: must be >= 2"]),
        ({"n_pe": 0, "index_bits": 9}, ["spec.n_pe=0: must be >= 1", "spec.index_bits=9: must be <= 8"]),
        ({"n_pe": 64.0}, ["spec.n_pe=64.0: must be an integer"]),
        ({"n_pe": True}, ["spec.n_pe=True: must be an integer"]),
        ({"n_pe": "many"}, ["spec.n_pe='many': must be an integer"]),
        ({"residency": "none"}, ["spec.residency='none': must be 'auto' or 'ideal'"]),
        (
            {"stream": "rows", "dram_gb_per_s": 0, "dram_burst_bytes": 0},
            [
                "spec.stream='rows': must be 'layer' or 'columns'",
                "spec.dram_gb_per_s=0: must be >= 1e-06",
                "spec.dram_burst_bytes=0: must be >= 1",
            ],
        ),
        ({"enforce_capacity": 1}, ["spec.enforce_capacity=1: must be true or false"]),
        ({"clock_mhz": float("nan")}, ["spec.clock_mhz=nan: must be finite"]),
        ({"n_pes": 8}, ["spec.n_pes=8: unknown key; did you mean n_pe?"]),
        ({"node_nm": 7}, ["spec.node_nm=7: must be one of 28, 32, 45 (nodes with energy data)"]),
        (
            {"node_nm": 40, "n_pe": 0, "spmat_row_bits": 4},
            [
                "spec.n_pe=0: must be >= 1",
                "spec.spmat_row_bits=4: must be >= 8, one entry of weight_bits + index_bits",
                "spec.node_nm=40: must be one of 28, 32, 45 (nodes with energy data)",
            ],
        ),
        ({"spmat_row_bits": 7}, ["spec.spmat_row_bits=7: must be >= 8, one entry of weight_bits + index_bits"]),
    ],
)
def test_problems(changes, lines):
    assert problems(lambda: eie.EIE_64PE.replace(**changes)) == lines


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        eie.EIE_64PE.n_pe = 3


def test_overrides_are_all_checked_at_once():
    assert problems(lambda: eie.load_spec("EIE_64PE", ["n_pe", "act_queue_depth=0", "n_pe2=4"])) == [
        "--set n_pe: must be key=value, as in n_pe=128",
        "spec.act_queue_depth=0: must be >= 2",
        "spec.n_pe2=4: unknown key; did you mean n_pe?",
    ]


def test_toml_overlay(tmp_path):
    file = tmp_path / "wide.toml"
    file.write_text('preset = "EIE_256PE"\nact_queue_depth = 16\n')
    spec = eie.load_spec(file, ["n_pe=512"])
    assert (spec.name, spec.n_pe, spec.act_queue_depth, spec.clock_mhz) == ("wide", 512, 16, 1200)


def test_bad_sources(tmp_path):
    assert problems(lambda: eie.load_spec("eie_64pe")) == [
        "spec eie_64pe: must be one of EIE_64PE, EIE_256PE or a .toml file; did you mean EIE_64PE?"
    ]
    missing = tmp_path / "none.toml"
    assert problems(lambda: eie.load_spec(missing))[0].startswith(f"{missing}: cannot be read: No such file")
    file = tmp_path / "bad.toml"
    file.write_text("n_pe = = 3")
    assert problems(lambda: eie.load_spec(file))[0].startswith(f"{file}: not valid TOML")
    file.write_text('preset = "EIE_65PE"')
    assert problems(lambda: eie.load_spec(file)) == [f"{file}: preset=EIE_65PE: must be one of EIE_64PE, EIE_256PE"]


def test_a_files_fields_are_refused_with_its_name(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("n_pe = -1\nact_queue_depth = 1\npes = 3\n")
    assert problems(lambda: eie.load_spec(file, ["act_queue_depth=0", "index_bits=99"])) == [
        f"{file}: spec.n_pe=-1: must be >= 1",
        # Words win over the file, and are typed beside their error.
        "spec.act_queue_depth=0: must be >= 2",
        "spec.index_bits=99: must be <= 8",
        f"{file}: spec.pes=3: unknown key; known: {', '.join(eie.AcceleratorSpec.model_fields)}",
    ]


def test_the_page_is_what_the_fields_say(root):
    page = (root / "docs" / "spec.md").read_text()
    assert with_table(page) == page  # else: make freeze
    for name in eie.AcceleratorSpec.model_fields:
        assert page.count(f"| `{name}` |") == 2  # in both tables
        assert reads(name).costs
    assert "| ring slots per queue; one always stays free | `queues`, `streams` | clocked registers" in page
    assert "| `ptr_bits` | 16 | >= 4, <= 32 | width of a column pointer | `streams`, `activity`, `plan` |" in page
    # Brackets: under one residency only.
    assert "| entries of each activation register file | `plan`, (`encoded`) |" in page
    for name, rows in drams().items():
        figures = [f"{row.value:g}" + "*" * (row.how == "assumed") for row in rows]
        label = f"`{name}` (default)" if name == "lpddr2" else f"`{name}`"
        assert f"| {' | '.join([label, *figures])} |" in page


def test_no_knob_is_free():
    """What costs area on a chip costs energy at rest and for an action; fields without a price are outside the chip."""
    assert set(TRIED) == set(eie.AcceleratorSpec.model_fields)
    moves = moved()
    for field in ("n_pe", "act_queue_depth", "index_bits", "weight_bits", "spmat_row_bits", "spmat_kib", "ptr_kib",
                  "ptr_bits", "act_kib", "act_registers", "data_bits", "act_row_bits"):  # fmt: skip
        assert {"dynamic", "static", "area"} <= set(moves[field]), field
    assert moves["name"] == ()
    # Faster is flagged; time and not power of an action follows.
    assert moves["clock_mhz"] == ("cycles", "timing")
    assert moves["clock_gated"] == ("static",)
    free = [field for field, names in moves.items() if names == ("cycles",)]
    assert free == ["io_bits", "dram_gb_per_s", "dram_latency_ns", "act_batches"]
