"""Faults planted in the Verilog, one at a time: what each is, where, and the text that it changes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """In ``unit``, ``right`` becomes ``wrong``."""

    name: str
    unit: str
    right: str
    wrong: str

    def planted(self, text: str) -> str:
        """The unit's text with the fault in it."""
        assert text.count(self.right) == 1, f"{self.name}: {self.unit}.v has changed"
        return text.replace(self.right, self.wrong)


FAULTS = (
    Fault(
        name="a queue one slot deeper",
        unit="pe",
        right="act_queue #(.SLOTS(QUEUE_SLOTS), .SLOT_BITS(QUEUE_BITS)",
        wrong="act_queue #(.SLOTS(QUEUE_SLOTS + 1), .SLOT_BITS(QUEUE_BITS + 1)",
    ),
    Fault(
        name="a slot that is freed and filled in one cycle",
        unit="act_queue",
        right="assign full = after_behind == first;",
        wrong="assign full = after_behind == first && !pop;",
    ),
    Fault(
        name="pointer banks swapped on odd columns",
        unit="ptr_read",
        right="wire [POINTER_BITS-1:0] from = odd ? odd_word : even_word;",
        wrong="wire [POINTER_BITS-1:0] from = even_word;",
    ),
    Fault(
        name="an empty column that takes no slot of the pipeline",
        unit="arithm",
        right="<= {issue || bubble, in_select",
        wrong="<= {issue, in_select",
    ),
    Fault(
        name="a head taken a cycle late",
        unit="ptr_read",
        right="assign pop = waiting && (!walking || closes);",
        wrong="assign pop = waiting && !walking;",
    ),
    Fault(
        name="a row buffer kept across layers",
        unit="spmat_read",
        right="if (reset) holds <= 1'b0;",
        wrong="if (reset && holds === 1'bx) holds <= 1'b0;",
    ),
    Fault(
        name="a row read anew for each column",
        unit="pe",
        right=".clk(clk), .reset(reset || clear), .issue(issue), .entry(entry), .row_read(row_read)",
        wrong=".clk(clk), .reset(reset || clear || pointer_read), .issue(issue), .entry(entry), .row_read(row_read)",
    ),
    Fault(
        name="rounding half down",
        unit="arithm",
        right="product}) + half) >>> shift;",
        wrong="product}) + half - (shift != 0)) >>> shift;",
    ),
    Fault(
        name="no bypass from the entry right in front",
        unit="arithm",
        right="write_real && write_sum_at == add_at ? write_sum",
        wrong="1'b0 ? write_sum",
    ),
    Fault(
        name="no bypass from the entry before that",
        unit="arithm",
        right="done_real && done_at == add_at ? done_sum",
        wrong="1'b0 ? done_sum",
    ),
    Fault(
        name="sums that wrap in place of saturating",
        unit="arithm",
        right="write_sum <= above ? LARGEST : below ? LEAST : total[DATA_BITS-1:0];",
        wrong="write_sum <= total[DATA_BITS-1:0];",
    ),
    Fault(
        name="a dead cycle missing after a row whose last lane was zero",
        unit="central_control",
        right="assign step = dead || (broadcast && lane == LAST_LANE);",
        wrong="assign step = dead || (broadcast && (nonzero & ~handed_out & ~({{(LANES-1){1'b0}}, 1'b1} << lane)) == 0);",
    ),
    Fault(
        name="a dead cycle also after the last lane",
        unit="central_control",
        right="assign step = dead || (broadcast && lane == LAST_LANE);",
        wrong="assign step = dead;",
    ),
    Fault(
        name="dead cycles that wait while queues are full",
        unit="central_control",
        right="assign dead = scanning && !some;",
        wrong="assign dead = scanning && !some && !any_full;",
    ),
    Fault(
        name="a padding entry that does not move the accumulator",
        unit="arithm",
        right="if (decode_real) last_at <=",
        wrong="if (decode_real && decode_code != 0) last_at <=",
    ),
    Fault(
        name="accumulators that start from what the last product left",
        unit="central_control",
        right="start_write <= start_read;",
        wrong="start_write <= 1'b0;",
    ),
    Fault(
        name="a layer that ends with the last write still on its way",
        unit="arithm",
        right="assign busy = in_select || in_decode || in_multiply || in_add;",
        wrong="assign busy = in_select || in_decode || in_multiply;",
    ),
)
