// Central control: starts a layer, scans the source activations, broadcasts, and says when the layer is done.
//
// Cycle 1 of a layer is LOAD: scan row 0 is read. In SCAN the first lane that is not zero and was not handed out is
// broadcast, into all queues or into none; a row without one takes a dead cycle to step to the next row, unless the last one
// handed out sat in the last lane: that step is free, since the next row is read in the same cycle. Queues that are full hold back
// a broadcast, not a dead cycle.
//
// A vector longer than the source registers comes in batches: one that resumes a layer finds its accumulators, row buffers
// and all else as the batch before it has left them.
module central_control #(
    parameter LANES = 64,
    parameter LANE_BITS = 6,
    parameter SCAN_BITS = 6,
    parameter COLUMN_BITS = 12,
    parameter SUM_BITS = 6,
    parameter LANE_COLUMNS = 1,  // columns of an activation's channel: by scatter those of a kernel
    parameter EPOCH_BITS = 1
) (
    input  wire                   clk,
    input  wire                   reset,
    // what a layer is: held while it runs
    input  wire                   start,
    input  wire                   resume,       // a batch of it that is not the first
    input  wire [COLUMN_BITS-1:0] origin,       // the column of its first activation, or of the pass's
    input  wire [SCAN_BITS-1:0]   last_row,     // the last scan row, that of the bias included
    input  wire                   has_bias,     // whether that row is the bias
    input  wire [COLUMN_BITS-1:0] bias_column,  // its column
    input  wire [SUM_BITS-1:0]    last_sum,     // the last accumulator of a PE
    // of a pass: where its scan rows begin, and how often its results go round the accumulators
    input  wire [SCAN_BITS-1:0]   first_row,
    input  wire [EPOCH_BITS-1:0]  last_epoch,
    // by scatter: whether the next scan row is that of another pixel, and the pixel's first column
    input  wire                   new_pixel,
    input  wire [COLUMN_BITS-1:0] offset,
    // of all PEs
    input  wire [LANES-1:0]       nonzero,
    input  wire                   any_full,
    input  wire                   all_quiet,
    input  wire                   to_come,      // of a streamed layer: columns are still on their way
    // to them
    output wire                   clear,        // a layer begins: nothing of the last one counts
    output wire                   start_read,
    output reg                    start_write,
    output reg  [SUM_BITS-1:0]    start_at,
    output reg  [SUM_BITS-1:0]    start_write_at,
    output reg  [EPOCH_BITS-1:0]  start_write_epoch,
    output wire                   load,
    output wire                   step,
    output wire                   scan_read,
    output wire [SCAN_BITS-1:0]   scan_at,
    output wire                   broadcast,
    output wire [LANE_BITS-1:0]   lane,
    output wire [COLUMN_BITS-1:0] column,
    // to be counted
    output wire                   running,
    output wire                   stall,
    output wire                   dead,
    output wire                   done          // in the layer's last cycle
);
    localparam [1:0] IDLE = 0, SET = 1, LOAD = 2, SCAN = 3;
    localparam [LANE_BITS-1:0] LAST_LANE = LANES - 1;
    localparam [COLUMN_BITS:0] STRIDE = LANES * LANE_COLUMNS;

    reg [1:0]             state;
    reg                   scanned;     // the scanner has passed the last row
    reg [SCAN_BITS-1:0]   row;
    reg [COLUMN_BITS:0]   first_column;  // that of the row's lane 0; one bit more, for rows that end behind the inputs
    reg [LANES-1:0]       handed_out;
    reg [EPOCH_BITS-1:0]  start_epoch;

    wire scanning = state == SCAN && !scanned;
    wire some;
    lnzd #(.LANES(LANES), .LANE_BITS(LANE_BITS)) lnzd (.pending(nonzero & ~handed_out), .some(some), .lane(lane));

    assign broadcast = scanning && some && !any_full;
    assign stall = scanning && some && any_full;
    assign dead = scanning && !some;

    assign step = dead || (broadcast && lane == LAST_LANE);
    wire last_step = step && row == last_row;
    wire [COLUMN_BITS:0] scanned_column = first_column + lane * LANE_COLUMNS + offset;
    assign column = has_bias && row == last_row ? bias_column : scanned_column[COLUMN_BITS-1:0];

    assign scan_read = state == LOAD || step;
    assign scan_at = state == LOAD ? first_row : row + 1'b1;
    assign load = state == LOAD;

    assign running = state == LOAD || state == SCAN;
    // The last slot may be in WRITE: this cycle finishes it. A broadcast in the last lane of the last row is not done.
    assign done = state == SCAN && (scanned || (dead && last_step)) && all_quiet && !to_come;

    assign clear = state == SET;
    assign start_read = state == SET;

    always @(posedge clk) begin
        // A start that is read in one cycle is written in the next.
        start_write <= start_read;
        start_write_at <= start_at;
        start_write_epoch <= start_epoch;
        if (reset) begin
            state <= IDLE;
            start_write <= 1'b0;
        end else case (state)
            IDLE: if (start) state <= resume ? LOAD : SET;
            SET: begin
                start_at <= start_at == last_sum ? {SUM_BITS{1'b0}} : start_at + 1'b1;
                if (start_at == last_sum) begin
                    start_epoch <= start_epoch + 1'b1;
                    if (start_epoch == last_epoch) state <= LOAD;
                end
            end
            LOAD: state <= SCAN;
            SCAN: if (done) state <= IDLE;
        endcase

        if (state == IDLE) begin
            start_at <= 0;
            start_epoch <= 0;
        end
        if (state == LOAD) begin
            scanned <= 1'b0;
            row <= first_row;
            first_column <= origin;
            handed_out <= 0;
        end else begin
            if (broadcast) handed_out[lane] <= 1'b1;
            if (step) begin
                handed_out <= 0;
                row <= row + 1'b1;
                first_column <= new_pixel ? origin : first_column + STRIDE;
            end
            if (last_step) scanned <= 1'b1;
        end
    end
endmodule
