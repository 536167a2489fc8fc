// Which accumulator an entry of a convolution by scatter goes to, and whose sum that still holds.
//
// Accumulators are a ring of open output rows for each output column of the strip: (output column, row of the ring, channel).
// An entry's local row is (kernel row of its phase, channel), so it lies that far behind the place of the pixel's first kernel
// row (turn), and may pass the ring's end once: there the output row is one of the turn before (epoch). Kernel rows below
// `low` and from `high` on have their output outside the map; their products are dropped.
//
// A row of the ring is taken over as soon as it is met: an accumulator that holds a sum of another epoch is stale. That
// sum is finished, since no pixel reaches both rows; it leaves to the activation SRAM in the same cycle, and this one begins from the start.
module open_rows #(
    parameter SUM_BITS = 6,
    parameter EPOCH_BITS = 3,
    parameter MORE_BITS = 3,
    parameter DEPTH = 1   // kernel rows of a phase where its output rows are no neighbours, else 1
) (
    input  wire                                         clk,
    // of the strip, all in accumulators: the ring, a column of the kernel, a kernel row of a phase, what its output rows lie further apart
    input  wire [SUM_BITS:0]                            ring,
    input  wire [SUM_BITS:0]                            pitch,
    input  wire [SUM_BITS:0]                            channels,
    input  wire [SUM_BITS:0]                            skew,
    // as it is issued
    input  wire [MORE_BITS-1:0]                         index,
    input  wire [EPOCH_BITS+4*(SUM_BITS+1)-1:0]         place,
    // DECODE
    input  wire [SUM_BITS-1:0]                          reached,
    output wire [SUM_BITS-1:0]                          at,
    output wire                                         on_map,
    // ADD: which of them holds the accumulator's sum, and the epoch beside the one in the memory
    input  wire                                         from_write,
    input  wire                                         from_done,
    input  wire [EPOCH_BITS-1:0]                        sum_epoch,
    output wire [EPOCH_BITS-1:0]                        evict_epoch,
    output wire                                         stale,
    // WRITE
    output wire [EPOCH_BITS-1:0]                        written_epoch
);
    reg [MORE_BITS-1:0]                 select_index, decode_index;
    reg [EPOCH_BITS+4*(SUM_BITS+1)-1:0] select_place, decode_place;
    reg [EPOCH_BITS-1:0]                multiply_epoch, add_epoch, write_epoch, done_epoch;

    wire [SUM_BITS:0]     turn, low, high, base;
    wire [EPOCH_BITS-1:0] epoch;
    assign {base, epoch, high, low, turn} = decode_place;

    assign on_map = reached >= low && reached < high;

    // Place in the ring of open rows: behind the first kernel row's, further by `skew` for each kernel row that was passed.
    reg [SUM_BITS+1:0] behind, bound;
    integer i;
    always @* begin
        behind = turn + reached;
        bound = channels;
        for (i = 1; i < DEPTH; i = i + 1) begin
            if (reached >= bound) behind = behind + skew;
            bound = bound + channels;
        end
    end
    wire                    wraps = behind >= ring;
    wire [SUM_BITS+1:0]     row = wraps ? behind - ring : behind;
    // Output columns fall as kernel columns rise.
    wire [SUM_BITS+1:0]     to = base - decode_index * pitch + row;
    assign at = to[SUM_BITS-1:0];

    assign evict_epoch = from_write ? write_epoch : from_done ? done_epoch : sum_epoch;
    assign stale = evict_epoch != add_epoch;
    assign written_epoch = write_epoch;

    always @(posedge clk) begin
        select_index <= index;
        select_place <= place;
        decode_index <= select_index;
        decode_place <= select_place;
        multiply_epoch <= epoch - wraps;
        add_epoch <= multiply_epoch;
        write_epoch <= add_epoch;
        done_epoch <= write_epoch;
    end
endmodule
