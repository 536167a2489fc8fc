// Pointer read of one PE for a convolution by scatter: an activation takes a range of neighbouring columns.
//
// A column's zero runs count from its top, and its products go to an output column of its own. So where each of them begins
// must be known, not the range's two ends alone: a range of n columns needs n + 1 neighbouring pointers. They lie in as many
// banks, as odd and even ones do for a single column, and one access brings them all. From there on the range is walked like a
// column: a cycle an entry, its empty columns none, and one that holds nothing at all is a bubble.
module ptr_ranges #(
    parameter COLUMN_BITS = 12,
    parameter POINTER_BITS = 16,
    parameter BANKS = 8,            // a power of two, more than columns in a range
    parameter SELECT_BITS = 3,
    parameter MORE_BITS = 3,
    parameter BANK_DEPTH = 512,
    parameter BANK_BITS = 9
) (
    input  wire                    clk,
    input  wire                    reset,
    input  wire                    waiting,
    input  wire [COLUMN_BITS-1:0]  column,   // the first of the range
    input  wire [MORE_BITS-1:0]    more,     // columns beside it
    output wire                    pop,
    output wire                    busy,
    output wire                    issue,
    output wire                    bubble,
    output wire                    opens,
    output wire [POINTER_BITS-1:0] entry,
    output wire [MORE_BITS-1:0]    index,    // the entry's column, from the first of the range
    // the host's port: pointer by pointer
    input  wire                                 write,
    input  wire [BANK_BITS+SELECT_BITS-1:0]     write_at,
    input  wire [POINTER_BITS-1:0]              written
);
    reg                    walking;
    reg                    fresh;
    reg [SELECT_BITS-1:0]  first_bank;
    reg [MORE_BITS-1:0]    open_more;
    reg [POINTER_BITS-1:0] next;

    // Pointer j is word j / BANKS of bank j % BANKS; those that come in front of the first one's bank are a word further.
    wire [BANKS*POINTER_BITS-1:0] words;
    wire [COLUMN_BITS-1:0]        whole = column >> SELECT_BITS;
    genvar b;
    generate
        for (b = 0; b < BANKS; b = b + 1) begin : banks
            wire [COLUMN_BITS:0] row = whole + (column[SELECT_BITS-1:0] > b);
            ram #(.WIDTH(POINTER_BITS), .DEPTH(BANK_DEPTH), .ADDRESS_BITS(BANK_BITS)) bank (
                .clk(clk), .read(pop), .read_at(row[BANK_BITS-1:0]), .word(words[b*POINTER_BITS +: POINTER_BITS]),
                .write(write && write_at[SELECT_BITS-1:0] == b), .write_at(write_at[SELECT_BITS +: BANK_BITS]),
                .written(written)
            );
        end
    endgenerate

    // In the order of the columns: pointer i of the range in place i.
    wire [2*BANKS*POINTER_BITS-1:0] twice = {words, words};
    wire [BANKS*POINTER_BITS-1:0]   pointers = twice[first_bank * POINTER_BITS +: BANKS * POINTER_BITS];
    wire [POINTER_BITS-1:0]         from = pointers[POINTER_BITS-1:0];
    wire [SELECT_BITS-1:0]          behind = open_more + 1'b1;
    wire [POINTER_BITS-1:0]         to = pointers[behind * POINTER_BITS +: POINTER_BITS];

    wire nothing = fresh && from == to;
    wire closes = walking && (nothing || entry + 1'b1 == to);

    reg [MORE_BITS-1:0] column_index;
    reg                 begins;
    integer i;
    always @* begin
        column_index = 0;
        begins = entry == from;
        for (i = 1; i < BANKS - 1; i = i + 1)
            if (i <= open_more && pointers[i*POINTER_BITS +: POINTER_BITS] <= entry) begin
                column_index = i;
                begins = pointers[i*POINTER_BITS +: POINTER_BITS] == entry;
            end
    end

    assign entry = fresh ? from : next;
    assign opens = begins;
    assign index = column_index;
    assign issue = walking && !nothing;
    assign bubble = walking && nothing;
    assign busy = walking;
    assign pop = waiting && (!walking || closes);

    always @(posedge clk) begin
        if (reset) begin
            walking <= 1'b0;
            fresh <= 1'b0;
        end else begin
            walking <= pop || (walking && !closes);
            fresh <= pop;
        end
        if (pop) begin
            first_bank <= column[SELECT_BITS-1:0];
            open_more <= more;
        end
        next <= entry + 1'b1;
    end
endmodule
