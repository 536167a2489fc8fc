// Arithmetic of one PE: an entry that was issued in cycle t is in its accumulator at the end of cycle t + 5.
//
//     t + 1  SELECT    the entry is taken out of the row buffer (in spmat_read; here its flags pass along)
//     t + 2  DECODE    codebook lookup; the zero run leads from the last entry's accumulator to this one's
//     t + 3  MULTIPLY  level times activation; the accumulator is read
//     t + 4  ADD       the product is shifted into the accumulator's format, halves up, added and saturated
//     t + 5  WRITE
//
// Nothing waits. An accumulator that is added to again before it could be read anew is bypassed: from WRITE for the entry
// right behind, from the word written last for the one behind that. A bubble passes and does nothing; a padding entry
// (code 0) moves the accumulator's address and writes nothing.
module arithm #(
    parameter INDEX_BITS = 4,
    parameter WEIGHT_BITS = 4,
    parameter DATA_BITS = 16,
    parameter SUM_BITS = 6,
    parameter SHIFT_BITS = 6,
    // convolutions by scatter, see open_rows
    parameter SCATTER = 0,
    parameter EPOCH_BITS = 1,
    parameter MORE_BITS = 1,
    parameter ROW_DEPTH = 1,
    parameter SUM_WIDTH = SCATTER ? DATA_BITS + EPOCH_BITS : DATA_BITS
) (
    input  wire                          clk,
    input  wire                          reset,
    input  wire [SHIFT_BITS-1:0]         shift,
    // as they are issued
    input  wire                          issue,
    input  wire                          bubble,
    input  wire                          opens,
    input  wire signed [DATA_BITS-1:0]   activation,
    input  wire [MORE_BITS-1:0]          index,
    input  wire [EPOCH_BITS+4*(SUM_BITS+1)-1:0] place,
    input  wire [4*(SUM_BITS+1)-1:0]     strip,  // {skew, channels, pitch, ring}
    // SELECT's, a cycle later
    input  wire [WEIGHT_BITS-1:0]        code,
    input  wire [INDEX_BITS-1:0]         run,
    // accumulators
    output wire                          sum_read,
    output wire [SUM_BITS-1:0]           sum_read_at,
    input  wire [SUM_WIDTH-1:0]          sum_word,
    input  wire [DATA_BITS-1:0]          start_word,
    output wire                          sum_write,
    output wire [SUM_BITS-1:0]           sum_write_at,
    output wire [SUM_WIDTH-1:0]          sum_written,
    // a finished sum of another output row that makes way
    output wire                          evict,
    output wire [EPOCH_BITS-1:0]         evict_epoch,
    output wire [SUM_BITS-1:0]           evict_at,
    output wire [DATA_BITS-1:0]          evicted,
    // whether anything is on its way that this cycle does not finish; what is to be counted
    output wire                          busy,
    output wire                          padding,
    output wire                          saturated,
    // the host's port
    input  wire                          write,
    input  wire [WEIGHT_BITS-1:0]        write_at,
    input  wire [DATA_BITS-1:0]          written
);
    localparam PRODUCT_BITS = 2 * DATA_BITS + 1;  // one more, for the half that rounds
    localparam [DATA_BITS-1:0] LARGEST = {1'b0, {(DATA_BITS-1){1'b1}}};
    localparam [DATA_BITS-1:0] LEAST = {1'b1, {(DATA_BITS-1){1'b0}}};

    // Which of the five stages hold a slot, entry or bubble.
    reg in_select, in_decode, in_multiply, in_add, in_write;
    assign busy = in_select || in_decode || in_multiply || in_add;

    // SELECT
    reg                        select_real, select_opens;
    reg signed [DATA_BITS-1:0] select_activation;

    // DECODE
    reg                        decode_real, decode_opens;
    reg [WEIGHT_BITS-1:0]      decode_code;
    reg [INDEX_BITS-1:0]       decode_run;
    reg signed [DATA_BITS-1:0] decode_activation;
    reg [SUM_BITS-1:0]         last_at;
    // A column's first run counts from above its first row, hence the one that is left out.
    wire [SUM_BITS+INDEX_BITS:0] reached = decode_opens ? decode_run : last_at + decode_run + 1'b1;
    wire signed [DATA_BITS-1:0] level;
    ram #(.WIDTH(DATA_BITS), .DEPTH(1 << WEIGHT_BITS), .ADDRESS_BITS(WEIGHT_BITS)) codebook (
        .clk(clk), .read(in_decode && decode_real), .read_at(decode_code), .word(level),
        .write(write), .write_at(write_at), .written(written)
    );
    wire [SUM_BITS-1:0] at;  // the accumulator; without scatter a row has its own
    wire                on_map;
    assign padding = in_decode && decode_real && (decode_code == 0 || !on_map);

    // MULTIPLY
    reg                        multiply_real;
    reg [SUM_BITS-1:0]         multiply_at;
    reg signed [DATA_BITS-1:0] multiply_activation;
    assign sum_read = in_multiply && multiply_real;
    assign sum_read_at = multiply_at;

    // ADD
    reg                             add_real;
    reg [SUM_BITS-1:0]              add_at;
    reg signed [2*DATA_BITS-1:0]    product;
    wire signed [PRODUCT_BITS-1:0]  half = shift == 0 ? 0 : {{(PRODUCT_BITS-1){1'b0}}, 1'b1} << (shift - 1'b1);
    wire signed [PRODUCT_BITS-1:0]  shifted = ($signed({product[2*DATA_BITS-1], product}) + half) >>> shift;
    reg  [SUM_BITS-1:0]             write_sum_at, done_at;
    reg                             write_real, done_real;
    reg  signed [DATA_BITS-1:0]     write_sum, done_sum;
    wire                            from_write = write_real && write_sum_at == add_at;
    wire                            from_done = done_real && done_at == add_at;
    wire signed [DATA_BITS-1:0]     latest = from_write ? write_sum
                                           : from_done ? done_sum
                                           : sum_word[DATA_BITS-1:0];
    wire                            stale;
    wire signed [DATA_BITS-1:0]     so_far = stale ? start_word : latest;
    wire signed [PRODUCT_BITS:0]    total = shifted + so_far;
    wire                            above = total > $signed(LARGEST);
    wire                            below = total < $signed(LEAST);
    assign saturated = add_real && (above || below);

    // WRITE
    assign sum_write = write_real;
    assign sum_write_at = write_sum_at;

    generate
        if (SCATTER) begin : scatter
            wire [EPOCH_BITS-1:0] written_epoch;
            open_rows #(
                .SUM_BITS(SUM_BITS), .EPOCH_BITS(EPOCH_BITS), .MORE_BITS(MORE_BITS), .DEPTH(ROW_DEPTH)
            ) open_rows (
                .clk(clk), .ring(strip[0 +: SUM_BITS+1]), .pitch(strip[SUM_BITS+1 +: SUM_BITS+1]),
                .channels(strip[2*(SUM_BITS+1) +: SUM_BITS+1]), .skew(strip[3*(SUM_BITS+1) +: SUM_BITS+1]),
                .index(index), .place(place), .reached(reached[SUM_BITS-1:0]), .at(at), .on_map(on_map),
                .from_write(from_write), .from_done(from_done), .sum_epoch(sum_word[SUM_WIDTH-1 -: EPOCH_BITS]),
                .evict_epoch(evict_epoch), .stale(stale), .written_epoch(written_epoch)
            );
            assign sum_written = {written_epoch, write_sum};
        end else begin : resident
            assign at = reached[SUM_BITS-1:0];
            assign on_map = 1'b1;
            assign stale = 1'b0;
            assign evict_epoch = {EPOCH_BITS{1'b0}};
            assign sum_written = write_sum;
        end
    endgenerate
    assign evict = add_real && stale;
    assign evict_at = add_at;
    assign evicted = latest;

    always @(posedge clk) begin
        if (reset) begin
            {in_select, in_decode, in_multiply, in_add, in_write} <= 5'b0;
            {select_real, decode_real, multiply_real, add_real, write_real, done_real} <= 6'b0;
        end else begin
            {in_select, in_decode, in_multiply, in_add, in_write}
                <= {issue || bubble, in_select, in_decode, in_multiply, in_add};
            select_real <= issue;
            decode_real <= select_real;
            multiply_real <= decode_real && decode_code != 0 && on_map;
            add_real <= multiply_real;
            write_real <= add_real;
            done_real <= write_real;
        end
        // issued
        select_opens <= opens;
        select_activation <= activation;
        // SELECT
        decode_opens <= select_opens;
        decode_activation <= select_activation;
        decode_code <= code;
        decode_run <= run;
        // DECODE
        if (decode_real) last_at <= reached[SUM_BITS-1:0];
        multiply_at <= at;
        multiply_activation <= decode_activation;
        // MULTIPLY
        add_at <= multiply_at;
        product <= level * multiply_activation;
        // ADD
        write_sum_at <= add_at;
        write_sum <= above ? LARGEST : below ? LEAST : total[DATA_BITS-1:0];
        // WRITE
        done_at <= write_sum_at;
        done_sum <= write_sum;
    end
endmodule
