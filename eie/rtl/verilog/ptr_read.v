// Pointer read of one PE: takes the head of the queue and walks the column from its first entry to its last.
//
// A column needs two neighbouring pointers, p[j] and p[j + 1]. Even and odd ones lie in two banks, so one access brings
// both, whichever of them is even. They are there a cycle after the head was taken. The unit is then busy one cycle for each
// entry; a column without entries is one cycle too, a bubble that passes the pipeline like an entry.
//
// STREAMED, a column's pointers come when the column has landed, and a head whose column has not is waited for.
module ptr_read #(
    parameter COLUMN_BITS = 12,
    parameter POINTER_BITS = 16,
    parameter BANK_DEPTH = 2048,
    parameter BANK_BITS = 11,
    parameter STREAMED = 0
) (
    input  wire                    clk,
    input  wire                    reset,
    input  wire                    waiting,
    input  wire [COLUMN_BITS-1:0]  column,
    output wire                    pop,
    output wire                    busy,
    output wire                    issue,
    output wire                    bubble,
    output wire                    opens,
    output wire [POINTER_BITS-1:0] entry,
    // of a streamed layer: whether the head's column is there, the unit waits for it, a column leaves
    input  wire                    there,
    output wire                    waits,
    output wire                    through,
    // and the column that lands in this cycle, with its pointers
    input  wire                    land,
    input  wire [COLUMN_BITS-1:0]  land_column,
    input  wire [POINTER_BITS-1:0] land_from,
    input  wire [POINTER_BITS-1:0] land_to,
    // the host's port, by which the images come in
    input  wire                    write_even,
    input  wire                    write_odd,
    input  wire [BANK_BITS-1:0]    write_at,
    input  wire [POINTER_BITS-1:0] written
);
    reg                     walking;   // a column is open
    reg                     fresh;     // its pointers have just come out of the banks
    reg                     odd;       // it has an odd number
    reg  [POINTER_BITS-1:0] next;      // its next entry, once the first has gone

    wire [POINTER_BITS-1:0] even_word, odd_word;
    wire [POINTER_BITS-1:0] from = odd ? odd_word : even_word;
    wire [POINTER_BITS-1:0] to = odd ? even_word : odd_word;

    // Column j has pointers j and j + 1: the even one of them is number (j + 1) / 2 of its bank, the odd one j / 2.
    wire [COLUMN_BITS:0] above = {1'b0, column} + 1'b1;
    wire                    bank_even, bank_odd;
    wire [BANK_BITS-1:0]    even_at, odd_at;
    wire [POINTER_BITS-1:0] even_written, odd_written;
    generate
        if (STREAMED) begin : landing
            wire [COLUMN_BITS:0] land_above = {1'b0, land_column} + 1'b1;
            wire [COLUMN_BITS:0] land_same = {1'b0, land_column};
            assign {bank_even, bank_odd} = {2{land}};
            assign even_at = land_above[BANK_BITS:1];
            assign odd_at = land_same[BANK_BITS:1];
            assign even_written = land_column[0] ? land_to : land_from;
            assign odd_written = land_column[0] ? land_from : land_to;
        end else begin : resident
            assign {bank_even, bank_odd} = {write_even, write_odd};
            assign {even_at, odd_at} = {2{write_at}};
            assign {even_written, odd_written} = {2{written}};
        end
    endgenerate
    ram #(.WIDTH(POINTER_BITS), .DEPTH(BANK_DEPTH), .ADDRESS_BITS(BANK_BITS)) even_bank (
        .clk(clk), .read(pop), .read_at(above[BANK_BITS:1]), .word(even_word),
        .write(bank_even), .write_at(even_at), .written(even_written)
    );
    wire [COLUMN_BITS:0] same = {1'b0, column};
    ram #(.WIDTH(POINTER_BITS), .DEPTH(BANK_DEPTH), .ADDRESS_BITS(BANK_BITS)) odd_bank (
        .clk(clk), .read(pop), .read_at(same[BANK_BITS:1]), .word(odd_word),
        .write(bank_odd), .write_at(odd_at), .written(odd_written)
    );

    wire nothing = fresh && from == to;
    wire closes = walking && (nothing || entry + 1'b1 == to);

    assign entry = fresh ? from : next;
    assign opens = fresh;
    assign issue = walking && !nothing;
    assign bubble = walking && nothing;
    assign busy = walking;
    // In the last cycle of a column the next head is taken already: a column of n entries takes n cycles, not n + 1.
    wire ready = waiting && (!walking || closes);
    assign pop = ready && there;
    assign waits = ready && !there;
    assign through = closes;

    always @(posedge clk) begin
        if (reset) begin
            walking <= 1'b0;
            fresh <= 1'b0;
        end else begin
            walking <= pop || (walking && !closes);
            fresh <= pop;
        end
        if (pop) odd <= column[0];
        next <= entry + 1'b1;
    end
endmodule
