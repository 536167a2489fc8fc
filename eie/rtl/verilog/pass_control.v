// Pass control: runs the passes of a layer one behind the other, and empties the accumulators between them.
//
// A pass is what the accumulators hold at a time: a group of rows of the matrix, or of a convolution a strip of the map for a
// group of output channels. What it is stands in a word of `passes`: where its source rows, columns, starts and results are.
// A pass begins when the one before is drained and emptied; neither that nor setting accumulators is a cycle of the layer.
module pass_control #(
    parameter PASSES = 2,
    parameter PASS_BITS = 1,
    parameter WIDTH = 32,
    parameter SUM_BITS = 6
) (
    input  wire                 clk,
    input  wire                 reset,
    input  wire                 start,
    input  wire [PASS_BITS-1:0] last_pass,
    input  wire [SUM_BITS-1:0]  last_sum,
    output wire                 done,
    // the pass that runs
    output wire                 begins,
    input  wire                 pass_done,
    output wire [WIDTH-1:0]     pass,
    // its accumulators, read in one cycle and stored in the next
    output wire                 empty_read,
    output reg  [SUM_BITS-1:0]  empty_at,
    output reg                  empty_write,
    output reg  [SUM_BITS-1:0]  empty_write_at,
    // the host's port
    input  wire                 write,
    input  wire [PASS_BITS-1:0] write_at,
    input  wire [WIDTH-1:0]     written
);
    localparam [2:0] IDLE = 0, FETCH = 1, BEGIN = 2, RUN = 3, EMPTY = 4, STORE = 5;

    reg [2:0]           state;
    reg [PASS_BITS-1:0] number;

    ram #(.WIDTH(WIDTH), .DEPTH(PASSES), .ADDRESS_BITS(PASS_BITS)) passes (
        .clk(clk), .read(state == FETCH), .read_at(number), .word(pass),
        .write(write), .write_at(write_at), .written(written)
    );

    assign begins = state == BEGIN;
    assign empty_read = state == EMPTY;
    // The last word of the last pass is stored in this cycle.
    assign done = state == STORE && number == last_pass;

    always @(posedge clk) begin
        empty_write <= empty_read;
        empty_write_at <= empty_at;
        if (state != EMPTY) empty_at <= 0;
        if (reset) begin
            state <= IDLE;
            empty_write <= 1'b0;
        end else case (state)
            IDLE: begin
                number <= 0;
                if (start) state <= FETCH;
            end
            FETCH: state <= BEGIN;
            BEGIN: state <= RUN;
            RUN: if (pass_done) state <= EMPTY;
            EMPTY: begin
                empty_at <= empty_at + 1'b1;
                if (empty_at == last_sum) state <= STORE;
            end
            STORE: begin
                number <= number + 1'b1;
                state <= done ? IDLE : FETCH;
            end
            default: state <= IDLE;
        endcase
    end
endmodule
