// Walks the pixels of a strip, rows first, for a convolution by scatter: says of each which columns of the matrix its channels
// take, and where in the accumulators their products go.
//
// Both are sums of what the pixel's row and its column in the map contribute, so a word for each row and one for each
// column of the strip are all that is stored. The row: the phase's first column (offset), the first kernel row's place in
// the ring of open rows (turn, epoch), the kernel rows that reach the output map (low, high; all in accumulators). The column:
// its first kernel column, how many more it takes, and its first output column (base).
module map_walk #(
    parameter ROWS = 28,
    parameter ROW_BITS = 5,
    parameter COLUMNS = 28,
    parameter COLUMN_BITS = 5,
    parameter PART_BITS = 1,
    parameter OFFSET_BITS = 12,
    parameter MORE_BITS = 3,
    parameter SUM_BITS = 6,
    parameter EPOCH_BITS = 3
) (
    input  wire                                   clk,
    // a pass begins; the scanner steps to the next scan row
    input  wire                                   load,
    input  wire                                   step,
    // the strip; the last scan row of a pixel, from 0
    input  wire [ROW_BITS-1:0]                    first_row,
    input  wire [COLUMN_BITS-1:0]                 first_column,
    input  wire [COLUMN_BITS-1:0]                 last_column,
    input  wire [PART_BITS-1:0]                   last_part,
    output wire                                   new_pixel,  // the next scan row is that of another pixel
    // of the pixel that is scanned
    output wire [OFFSET_BITS-1:0]                 offset,     // its first column, of channel 0
    output wire [MORE_BITS-1:0]                   more,       // columns beside that
    output wire [EPOCH_BITS+4*(SUM_BITS+1)-1:0]   place,      // {base, epoch, high, low, turn}
    // the host's port
    input  wire                                   write_row,
    input  wire [ROW_BITS-1:0]                    write_row_at,
    input  wire [OFFSET_BITS+EPOCH_BITS+3*(SUM_BITS+1)-1:0] written_row,
    input  wire                                   write_column,
    input  wire [COLUMN_BITS-1:0]                 write_column_at,
    input  wire [OFFSET_BITS+MORE_BITS+SUM_BITS:0] written_column
);
    localparam RING_BITS = EPOCH_BITS + 3 * (SUM_BITS + 1);

    reg [ROW_BITS-1:0]    row;
    reg [COLUMN_BITS-1:0] column;
    reg [PART_BITS-1:0]   part;

    assign new_pixel = step && part == last_part;
    wire wraps = column == last_column;
    wire [ROW_BITS-1:0]    next_row = load ? first_row : wraps ? row + 1'b1 : row;
    wire [COLUMN_BITS-1:0] next_column = load || wraps ? first_column : column + 1'b1;

    wire [OFFSET_BITS+RING_BITS-1:0]           row_word;
    wire [OFFSET_BITS+MORE_BITS+SUM_BITS:0]    column_word;
    ram #(.WIDTH(OFFSET_BITS + RING_BITS), .DEPTH(ROWS), .ADDRESS_BITS(ROW_BITS)) rows (
        .clk(clk), .read(load || new_pixel), .read_at(next_row), .word(row_word),
        .write(write_row), .write_at(write_row_at), .written(written_row)
    );
    ram #(.WIDTH(OFFSET_BITS + MORE_BITS + SUM_BITS + 1), .DEPTH(COLUMNS), .ADDRESS_BITS(COLUMN_BITS)) columns (
        .clk(clk), .read(load || new_pixel), .read_at(next_column), .word(column_word),
        .write(write_column), .write_at(write_column_at), .written(written_column)
    );

    // {offset, epoch, high, low, turn} and {base, more, first}, the first in the highest bits
    assign offset = row_word[RING_BITS +: OFFSET_BITS] + column_word[OFFSET_BITS-1:0];
    assign more = column_word[OFFSET_BITS +: MORE_BITS];
    assign place = {column_word[OFFSET_BITS+MORE_BITS +: SUM_BITS+1], row_word[RING_BITS-1:0]};

    always @(posedge clk) begin
        if (load || new_pixel) begin
            row <= next_row;
            column <= next_column;
            part <= 0;
        end else if (step) part <= part + 1'b1;
    end
endmodule
