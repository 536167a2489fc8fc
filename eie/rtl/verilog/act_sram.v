// The outputs of one PE in its activation SRAM: what its accumulators held when their pass, or their output row, was through.
//
// Three come in, one at a time and each through ReLU where the layer has one: before a pass, what accumulators start from, for
// every output that they will have (one that nothing is added to stays so); while a convolution runs, a sum that makes
// way for another output row; behind a pass, what accumulators hold.
module act_sram #(
    parameter DATA_BITS = 16,
    parameter EPOCH_BITS = 1,
    parameter SUM_BITS = 6,
    parameter DEPTH = 128,
    parameter ADDRESS_BITS = 7
) (
    input  wire                    clk,
    input  wire                    relu,
    input  wire [ADDRESS_BITS-1:0] first,  // of the pass that runs
    // before it
    input  wire                    start_write,
    input  wire [EPOCH_BITS-1:0]   start_epoch,
    input  wire [SUM_BITS-1:0]     start_at,
    input  wire [DATA_BITS-1:0]    start,
    // meanwhile
    input  wire                    evict,
    input  wire [EPOCH_BITS-1:0]   evict_epoch,
    input  wire [SUM_BITS-1:0]     evict_at,
    input  wire [DATA_BITS-1:0]    evicted,
    // behind it
    input  wire                    empty_write,
    input  wire [EPOCH_BITS-1:0]   empty_epoch,
    input  wire [SUM_BITS-1:0]     empty_at,
    input  wire [DATA_BITS-1:0]    emptied,
    // what is read
    input  wire                    read,
    input  wire [ADDRESS_BITS-1:0] read_at,
    output wire [DATA_BITS-1:0]    out
);
    wire [EPOCH_BITS+SUM_BITS-1:0] at = start_write ? {start_epoch, start_at}
                                      : evict ? {evict_epoch, evict_at}
                                      : {empty_epoch, empty_at};
    wire [DATA_BITS-1:0]           raw = start_write ? start : evict ? evicted : emptied;
    wire [ADDRESS_BITS-1:0]        to = first + at;

    ram #(.WIDTH(DATA_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(ADDRESS_BITS)) results (
        .clk(clk), .read(read), .read_at(read_at), .word(out),
        .write(start_write || evict || empty_write), .write_at(to),
        .written(relu && raw[DATA_BITS-1] ? {DATA_BITS{1'b0}} : raw)
    );
endmodule
