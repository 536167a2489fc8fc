// Sparse-matrix read of one PE: one entry a cycle out of SRAM rows of several entries.
//
// The SRAM's output register is the row buffer: a row is read only when it is not the one held, across columns too.
// The stage behind it, SELECT, takes the entry out of the row: {code, zero run}.
//
// STREAMED, the SRAM is a buffer that holds less than the layer. A row keeps the number that it has in the layer, and lies
// where that number modulo DEPTH says, or, where only active columns come (FIFO), behind the row that came before it. Rows
// come column by column, so one that is held may not be complete: what lands in it meanwhile goes into the row buffer, too.
module spmat_read #(
    parameter INDEX_BITS = 4,
    parameter WEIGHT_BITS = 4,
    parameter ROW_BITS = 64,
    parameter POINTER_BITS = 16,
    parameter DEPTH = 16384,
    parameter ADDRESS_BITS = 14,
    parameter STREAMED = 0,
    parameter FIFO = 0,
    parameter ROW_NUMBER_BITS = 14
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
    input  wire [ROW_BITS-1:0]     written,
    // a row of a streamed layer that lands: what has come of it so far
    input  wire                    land,
    input  wire [ADDRESS_BITS-1:0] land_at,
    input  wire [ROW_NUMBER_BITS-1:0] land_row,
    input  wire [ROW_BITS-1:0]     landed
);
    localparam ENTRY_BITS = WEIGHT_BITS + INDEX_BITS;
    localparam ENTRIES = ROW_BITS / ENTRY_BITS;
    localparam SLOT_BITS = ENTRIES > 1 ? $clog2(ENTRIES) : 1;
    localparam [31:0] ENTRIES_32 = ENTRIES;

    // Constant divisors: wires where a row holds a power of two entries, as the paper's 8.
    wire [31:0] wide = entry;
    wire [31:0] wide_row = wide / ENTRIES_32;
    wire [31:0] wide_slot = wide % ENTRIES_32;
    wire [ROW_NUMBER_BITS-1:0] row = wide_row[ROW_NUMBER_BITS-1:0];

    reg                    holds;
    reg [ROW_NUMBER_BITS-1:0] held;
    reg [SLOT_BITS-1:0]    slot;
    wire [ROW_BITS-1:0]    row_buffer, word;

    assign row_read = issue && !(holds && held == row);
    wire [ADDRESS_BITS-1:0] at;
    generate
        if (STREAMED) begin : streamed
            localparam [31:0] DEPTH_32 = DEPTH;
            localparam [ADDRESS_BITS-1:0] LAST = DEPTH - 1;
            reg [ADDRESS_BITS-1:0] next;    // of the FIFO: where the row lies that is read next
            reg                    patched; // the row that is held has been added to
            reg [ROW_BITS-1:0]     patch;
            wire                   lands = land && (row_read ? land_row == row : holds && land_row == held);
            wire [31:0]            wrapped = wide_row % DEPTH_32;
            assign at = FIFO ? next : wrapped[ADDRESS_BITS-1:0];
            assign row_buffer = patched ? patch : word;
            always @(posedge clk) begin
                if (reset) next <= 0;
                else if (row_read) next <= next == LAST ? {ADDRESS_BITS{1'b0}} : next + 1'b1;
                if (row_read || lands) patched <= lands;
                if (lands) patch <= landed;
            end
        end else begin : resident
            assign at = row;
            assign row_buffer = word;
        end
    endgenerate
    ram #(.WIDTH(ROW_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(ADDRESS_BITS)) sram (
        .clk(clk), .read(row_read), .read_at(at), .word(word),
        .write(STREAMED ? land : write), .write_at(STREAMED ? land_at : write_at), .written(STREAMED ? landed : written)
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
