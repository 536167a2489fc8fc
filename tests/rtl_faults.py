"""Faults planted in the Verilog, one at a time: what each is, where, and the text that it changes."""

from dataclasses import dataclass

from eie.rtl import tools
from eie.rtl.write import write_works


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

    def is_caught(self, folder) -> bool:
        """Whether the design's bench sees the fault, which is taken out again."""
        unit = folder / f"{self.unit}.v"
        right = unit.read_text()
        try:
            unit.write_text(self.planted(right))
            return not tools.run(folder, "icarus").equal
        finally:
            unit.write_text(right)


def agreeing(works, factory):
    """Write a design for each of the works, none with a fault, and see that all agree."""
    folders = [write_works([work], factory.mktemp("rtl") / "design")[0] for work in works]
    runs = [tools.run(folder, "icarus") for folder in folders]
    assert [run.differences for run in runs] == [()] * len(runs)
    return folders


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
        right="wire ready = waiting && (!walking || closes);",
        wrong="wire ready = waiting && !walking;",
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
        right="from_write = write_real && write_sum_at == add_at;",
        wrong="from_write = 1'b0;",
    ),
    Fault(
        name="no bypass from the entry before that",
        unit="arithm",
        right="from_done = done_real && done_at == add_at;",
        wrong="from_done = 1'b0;",
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
        right="step = dead || (broadcast && lane == LAST_LANE);",
        wrong="step = dead || (broadcast && (nonzero & ~handed_out & ~({{(LANES-1){1'b0}}, 1'b1} << lane)) == 0);",
    ),
    Fault(
        name="a dead cycle also after the last lane",
        unit="central_control",
        right="step = dead || (broadcast && lane == LAST_LANE);",
        wrong="step = dead;",
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

# Of layers with several passes, and of convolutions by scatter.
MAP_FAULTS = (
    Fault(
        name="a pass counter that is one ahead",
        unit="pass_control",
        right="assign done = state == STORE && number == last_pass;",
        wrong="assign done = state == STORE && number + 1'b1 >= last_pass;",
    ),
    Fault(
        name="accumulators that are not set between passes",
        unit="central_control",
        right="start_write <= start_read;",
        wrong="start_write <= start_read && origin == 0;",
    ),
    Fault(
        name="a first pass that is not drained",
        unit="central_control",
        right="(dead && last_step)) && all_quiet &&",
        wrong="(dead && last_step)) && (all_quiet || origin == 0) &&",
    ),
    Fault(
        name="every pass in the columns of the first",
        unit="central_control",
        right="first_column <= origin;",
        wrong="first_column <= 0;",
    ),
    Fault(
        name="every pass from the starts of the first",
        unit="pe",
        right=".start_at(first_start + from_start)",
        wrong=".start_at({START_BITS{1'b0}} + from_start)",
    ),
    Fault(
        name="accumulators that are emptied but for the last",
        unit="pass_control",
        right="if (empty_at == last_sum) state <= STORE;",
        wrong="if (empty_at + 1'b1 >= last_sum) state <= STORE;",
    ),
    Fault(
        name="a row of the ring too far at every position",
        unit="open_rows",
        right="behind = turn + reached;",
        wrong="behind = turn + reached + channels;",
    ),
    Fault(
        name="a ring without an end",
        unit="open_rows",
        right="row = wraps ? behind - ring : behind;",
        wrong="row = behind;",
    ),
    Fault(
        name="a ring's end that is no new row",
        unit="open_rows",
        right="multiply_epoch <= epoch - wraps;",
        wrong="multiply_epoch <= epoch;",
    ),
    Fault(
        name="an output row that goes on from the one before it in the ring",
        unit="open_rows",
        right="assign stale = evict_epoch != add_epoch;",
        wrong="assign stale = 1'b0;",
    ),
    Fault(
        name="an output row that begins without its bias",
        unit="arithm",
        right="so_far = stale ? start_word : latest;",
        wrong="so_far = stale ? {DATA_BITS{1'b0}} : latest;",
    ),
    Fault(
        name="a sum on its way that is taken for the one in the memory",
        unit="open_rows",
        right="evict_epoch = from_write ? write_epoch : from_done",
        wrong="evict_epoch = 1'b0 ? write_epoch : from_done",
    ),
    Fault(
        name="products above the map that are added",
        unit="open_rows",
        right="assign on_map = reached >= low && reached < high;",
        wrong="assign on_map = reached >= low;",
    ),
    Fault(
        name="products below the map that are added",
        unit="open_rows",
        right="assign on_map = reached >= low && reached < high;",
        wrong="assign on_map = reached < high;",
    ),
    Fault(
        name="products outside the map that are no padding",
        unit="arithm",
        right="(decode_code == 0 || !on_map)",
        wrong="(decode_code == 0)",
    ),
    Fault(
        name="kernel rows that reach neighbours under dilation",
        unit="open_rows",
        right="if (reached >= bound) behind = behind + skew;",
        wrong="if (reached >= bound) behind = behind;",
    ),
    Fault(
        name="all columns of a range in one output column",
        unit="open_rows",
        right="base - decode_index * pitch + row;",
        wrong="base + row;",
    ),
    Fault(
        name="zero runs that go on across the columns of a range",
        unit="ptr_ranges",
        right="assign opens = begins;",
        wrong="assign opens = fresh;",
    ),
    Fault(
        name="banks that all read the same word",
        unit="ptr_ranges",
        right="whole + (column[SELECT_BITS-1:0] > b);",
        wrong="whole;",
    ),
    Fault(
        name="a range that ends a column early",
        unit="ptr_ranges",
        right="behind = open_more + 1'b1;",
        wrong="behind = open_more == 0 ? 1 : open_more;",
    ),
    Fault(
        name="a pixel that goes on in the columns of the last",
        unit="central_control",
        right="first_column <= new_pixel ? origin : first_column + STRIDE;",
        wrong="first_column <= first_column + STRIDE;",
    ),
    Fault(
        name="a map whose rows are all the first",
        unit="map_walk",
        right="wraps ? row + 1'b1 : row;",
        wrong="row;",
    ),
    Fault(
        name="outputs that nothing is added to, left as they were",
        unit="central_control",
        right="if (start_epoch == last_epoch) state <= LOAD;",
        wrong="state <= LOAD;",
    ),
    Fault(
        name="finished sums that miss their ReLU",
        unit="act_sram",
        right="written(relu && raw",
        wrong="written(relu && !evict && raw",
    ),
)

# Of vectors that come in batches.
BATCH_FAULTS = (
    Fault(
        name="sums that every batch begins anew",
        unit="central_control",
        right="state <= resume ? LOAD : SET;",
        wrong="state <= SET;",
    ),
    Fault(
        name="a row buffer that is lost between batches",
        unit="central_control",
        right="assign clear = state == SET;",
        wrong="assign clear = state == SET || (state == IDLE && start);",
    ),
    Fault(
        name="batches that all begin with the first column",
        unit="central_control",
        right="first_column <= origin;",
        wrong="first_column <= 0;",
    ),
    Fault(
        name="a bias that comes with every batch",
        unit="bench",
        right="has_bias = HAS_BIAS && batch == BATCHES - 1;",
        wrong="has_bias = HAS_BIAS;",
    ),
)

# Of streamed layers: in the accelerator, then in the bus that the bench plays, since the counts hold both to the rules.
STREAM_FAULTS = (
    Fault(
        name="a column that is taken before it has landed",
        unit="pe",
        right="assign there = !STREAMED || {1'b0, head_column} < landed ||",
        wrong="assign there = 1'b1 ||",
    ),
    Fault(
        name="a column that is released with the next one",
        unit="pe",
        right="{1'b0, head_column} < landed ||",
        wrong="{1'b0, head_column} + 1'b1 < landed ||",
    ),
    Fault(
        name="a column that came for an earlier product and is waited for",
        unit="top",
        right=".mark(marked[lane])",
        wrong=".mark(1'b0)",
    ),
    Fault(
        name="a row buffer that misses what lands in its row",
        unit="spmat_read",
        right="if (row_read || lands) patched <= lands;",
        wrong="if (row_read || lands) patched <= 1'b0;",
    ),
    Fault(
        name="a row that is read in the cycle in which more of it lands",
        unit="spmat_read",
        right="land && (row_read ? land_row == row : holds && land_row == held);",
        wrong="land && !row_read && holds && land_row == held;",
    ),
    Fault(
        name="a queue of rows that wraps a row late",
        unit="spmat_read",
        right="localparam [ADDRESS_BITS-1:0] LAST = DEPTH - 1;",
        wrong="localparam [ADDRESS_BITS-1:0] LAST = DEPTH;",
    ),
    Fault(
        name="pointers that land in each other's banks on odd columns",
        unit="ptr_read",
        right="assign even_written = land_column[0] ? land_to : land_from;",
        wrong="assign even_written = land_from;",
    ),
    Fault(
        name="a buffer that is free with a column's first slot",
        unit="ptr_read",
        right="assign through = STREAMED && closes;",
        wrong="assign through = walking && fresh;",
    ),
    Fault(
        name="a scanner that looks ahead no further than the queues let it",
        unit="top",
        right=".nonzero(ahead_nonzero), .any_full(1'b0)",
        wrong=".nonzero(ahead_nonzero), .any_full(|full)",
    ),
    Fault(
        name="a layer that ends before its last column is there",
        unit="central_control",
        right="all_quiet && !to_come;",
        wrong="all_quiet;",
    ),
    Fault(
        name="a half that is filled while the block in it is read",
        unit="bus",
        right="block == 0 || unread[block - 1] == 0",
        wrong="block == 0 || 1",
    ),
    Fault(
        name="a half that is waited for where there is room for all",
        unit="bus",
        right="fits || HELD || block == 0",
        wrong="fits || block == 0",
    ),
    Fault(
        name="a beat of the bus more",
        unit="bus",
        right="beats[i] = entries == 0 ? 1 : entries;",
        wrong="beats[i] = entries == 0 ? 1 : entries + 1;",
    ),
    Fault(
        name="a latency that ends a cycle late",
        unit="bus",
        right="due[requested] = cycle + LATENCY;",
        wrong="due[requested] = cycle + LATENCY + 1;",
    ),
    Fault(
        name="requests that wait for one another",
        unit="bus",
        right="begun < requested && due[begun] <= cycle)",
        wrong="begun < requested && (due[begun] <= cycle && (begun == 0 || cycle > due[begun - 1] + LATENCY)))",
    ),
    Fault(
        name="bursts that are cut short",
        unit="bus",
        right="+ BURST_BITS - 1) / BURST_BITS * BURST_BITS;",
        wrong="+ 7) / 8 * 8;",
    ),
    Fault(
        name="a first half that is paid for by nobody",
        unit="bus",
        right="beats_owed = beats_owed + beats[wanted[requested]];",
        wrong="beats_owed = 0;",
    ),
)
