// Activation read and write of one PE: its source activations, its accumulators, and what these start from.
//
// Scan row g is what all PEs hold at address g of their source registers. Before a layer the accumulators are set,
// one a cycle, to their starts: a bias, or zero. That is when source and destination swap roles in the paper, and no cycle of
// the layer. Behind it they are read out, through ReLU where the layer has one.
//
// MARKED, a source carries a bit more: its column of a streamed layer came for an earlier product. AHEAD, a second copy of
// the sources is there for the scanner that looks ahead.
module act_rw #(
    parameter DATA_BITS = 16,
    parameter SCAN_DEPTH = 64,
    parameter SCAN_BITS = 6,
    parameter SUMS = 64,
    parameter SUM_BITS = 6,
    parameter SUM_WIDTH = DATA_BITS,  // of an accumulator: by scatter it knows its output row too
    parameter STARTS = SUMS,          // of all passes
    parameter START_BITS = SUM_BITS,
    parameter MARKED = 0,
    parameter AHEAD = 0
) (
    input  wire                        clk,
    // source
    input  wire                        scan_read,
    input  wire [SCAN_BITS-1:0]        scan_at,
    output wire signed [DATA_BITS-1:0] source,
    output wire                        marked,
    input  wire                        ahead_read,
    input  wire [SCAN_BITS-1:0]        ahead_at,
    output wire [DATA_BITS-1:0]        ahead,
    // starting and reading out, while the layer does not run
    input  wire                        start_read,
    input  wire                        start_write,
    input  wire [START_BITS-1:0]       start_at,
    input  wire [SUM_BITS-1:0]         start_write_at,
    output wire [DATA_BITS-1:0]        start_word,
    input  wire                        out_read,
    input  wire [SUM_BITS-1:0]         out_at,
    input  wire                        relu,
    output wire [DATA_BITS-1:0]        out,
    // the arithmetic's
    input  wire                        sum_read,
    input  wire [SUM_BITS-1:0]         sum_read_at,
    output wire [SUM_WIDTH-1:0]        sum_word,
    input  wire                        sum_write,
    input  wire [SUM_BITS-1:0]         sum_write_at,
    input  wire [SUM_WIDTH-1:0]        sum_written,
    // the host's port
    input  wire                        write_source,
    input  wire [SCAN_BITS-1:0]        write_source_at,
    input  wire [DATA_BITS-1:0]        written_source,
    input  wire                        written_mark,
    input  wire                        write_start,
    input  wire [START_BITS-1:0]       write_start_at,
    input  wire [DATA_BITS-1:0]        written_start
);
    wire [SUM_WIDTH-1:0] start_sum = start_word;  // of the first output row

    ram #(.WIDTH(DATA_BITS), .DEPTH(SCAN_DEPTH), .ADDRESS_BITS(SCAN_BITS)) sources (
        .clk(clk), .read(scan_read), .read_at(scan_at), .word(source),
        .write(write_source), .write_at(write_source_at), .written(written_source)
    );
    generate
        if (MARKED) begin : marking
            ram #(.WIDTH(1), .DEPTH(SCAN_DEPTH), .ADDRESS_BITS(SCAN_BITS)) marks (
                .clk(clk), .read(scan_read), .read_at(scan_at), .word(marked),
                .write(write_source), .write_at(write_source_at), .written(written_mark)
            );
        end else begin : unmarked
            assign marked = 1'b0;
        end
        if (AHEAD) begin : looking_ahead
            ram #(.WIDTH(DATA_BITS), .DEPTH(SCAN_DEPTH), .ADDRESS_BITS(SCAN_BITS)) sources (
                .clk(clk), .read(ahead_read), .read_at(ahead_at), .word(ahead),
                .write(write_source), .write_at(write_source_at), .written(written_source)
            );
        end else begin : not_ahead
            assign ahead = {DATA_BITS{1'b0}};
        end
    endgenerate
    ram #(.WIDTH(DATA_BITS), .DEPTH(STARTS), .ADDRESS_BITS(START_BITS)) starts (
        .clk(clk), .read(start_read), .read_at(start_at), .word(start_word),
        .write(write_start), .write_at(write_start_at), .written(written_start)
    );
    ram #(.WIDTH(SUM_WIDTH), .DEPTH(SUMS), .ADDRESS_BITS(SUM_BITS)) accumulators (
        .clk(clk), .read(sum_read || out_read), .read_at(out_read ? out_at : sum_read_at), .word(sum_word),
        .write(sum_write || start_write), .write_at(start_write ? start_write_at : sum_write_at),
        .written(start_write ? start_sum : sum_written)
    );
    assign out = relu && sum_word[DATA_BITS-1] ? {DATA_BITS{1'b0}} : sum_word[DATA_BITS-1:0];
endmodule
