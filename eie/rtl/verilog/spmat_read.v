// Sparse-matrix read of one PE: one entry a cycle out of SRAM rows of several entries.
//
// The SRAM's output register is the row buffer: a row is read only when it is not the one held, across columns too.
// The stage behind it, SELECT, takes the entry out of the row: {code, zero run}.
module spmat_read #(
    parameter INDEX_BITS = 4,
    parameter WEIGHT_BITS = 4,
    parameter ROW_BITS = 64,
    parameter POINTER_BITS = 16,
    parameter DEPTH = 16384,
    parameter ADDRESS_BITS = 14
) (
    input  wire                    clk,
    input  wire                    reset,
    input  wire                    issue,
    input  wire [POINTER_BITS-1:0] entry,
    output wire                    row_read,
    // a cycle later, of the entry that was issued
    output wire [WEIGHT_BITS-1:0]  code,
    output wire [INDEX_BITS-1:0]   run,
    // the host's port
    input  wire                    write,
    input  wire [ADDRESS_BITS-1:0] write_at,
    input  wire [ROW_BITS-1:0]     written
);
    localparam ENTRY_BITS = WEIGHT_BITS + INDEX_BITS;
    localparam ENTRIES = ROW_BITS / ENTRY_BITS;
    localparam SLOT_BITS = ENTRIES > 1 ? $clog2(ENTRIES) : 1;
    localparam [31:0] ENTRIES_32 = ENTRIES;

    // Constant divisors: wires where a row holds a power of two entries, as the paper's 8.
    wire [31:0] wide = entry;
    wire [31:0] wide_row = wide / ENTRIES_32;
    wire [31:0] wide_slot = wide % ENTRIES_32;
    wire [ADDRESS_BITS-1:0] row = wide_row[ADDRESS_BITS-1:0];

    reg                    holds;
    reg [ADDRESS_BITS-1:0] held;
    reg [SLOT_BITS-1:0]    slot;
    wire [ROW_BITS-1:0]    row_buffer;

    assign row_read = issue && !(holds && held == row);
    ram #(.WIDTH(ROW_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(ADDRESS_BITS)) sram (
        .clk(clk), .read(row_read), .read_at(row), .word(row_buffer),
        .write(write), .write_at(write_at), .written(written)
    );

    always @(posedge clk) begin
        if (reset) holds <= 1'b0;
        else if (row_read) holds <= 1'b1;
        if (row_read) held <= row;
        if (issue) slot <= wide_slot[SLOT_BITS-1:0];
    end

    // SELECT
    wire [ENTRY_BITS-1:0] selected = row_buffer[slot * ENTRY_BITS +: ENTRY_BITS];
    assign code = selected[ENTRY_BITS-1 -: WEIGHT_BITS];
    assign run = selected[INDEX_BITS-1:0];
endmodule
