// One processing element: its queue, its memories and its pipeline (Figure 4 of the paper).
//
// It knows neither its number nor its neighbours: which rows of the matrix it holds is in its images alone.
module pe #(
    parameter QUEUE_SLOTS = 8,
    parameter INDEX_BITS = 4,
    parameter WEIGHT_BITS = 4,
    parameter DATA_BITS = 16,
    parameter ROW_BITS = 64,
    parameter POINTER_BITS = 16,
    parameter COLUMN_BITS = 12,
    parameter BANK_DEPTH = 2048,
    parameter BANK_BITS = 11,
    parameter SPMAT_DEPTH = 16384,
    parameter SPMAT_BITS = 14,
    parameter SCAN_DEPTH = 64,
    parameter SCAN_BITS = 6,
    parameter SUMS = 64,
    parameter SUM_BITS = 6,
    parameter SHIFT_BITS = 6,
    parameter HOST_BITS = 16,
    // of layers with several passes or by scatter: outputs are stored, in RESULTS words
    parameter STORED = 0,
    parameter STARTS = SUMS,
    parameter START_BITS = SUM_BITS,
    parameter RESULTS = SUMS,
    parameter RESULT_BITS = SUM_BITS,
    parameter SCATTER = 0,
    parameter EPOCH_BITS = 1,
    parameter MORE_BITS = 1,
    parameter BANKS = 2,
    parameter SELECT_BITS = 1,
    parameter ROW_DEPTH = 1,
    parameter STREAMED = 0,
    parameter FIFO = 0,
    parameter MARKED = 0,
    parameter AHEAD = 0,
    parameter ROW_NUMBER_BITS = 14
) (
    input  wire                        clk,
    input  wire                        reset,
    // central control's
    input  wire                        clear,
    input  wire                        start_read,
    input  wire                        start_write,
    input  wire [SUM_BITS-1:0]         start_at,
    input  wire [SUM_BITS-1:0]         start_write_at,
    input  wire [EPOCH_BITS-1:0]       start_write_epoch,
    input  wire                        scan_read,
    input  wire [SCAN_BITS-1:0]        scan_at,
    input  wire [SHIFT_BITS-1:0]       shift,
    input  wire                        relu,
    // of the pass: its first start and result, its strip; what empties the accumulators behind it
    input  wire [START_BITS-1:0]       first_start,
    input  wire [RESULT_BITS-1:0]      first_result,
    input  wire [4*(SUM_BITS+1)-1:0]   strip,
    input  wire                        empty_read,
    input  wire [SUM_BITS-1:0]         empty_at,
    input  wire                        empty_write,
    input  wire [SUM_BITS-1:0]         empty_write_at,
    output wire signed [DATA_BITS-1:0] source,
    output wire                        nonzero,
    output wire                        marked,
    input  wire                        ahead_read,
    input  wire [SCAN_BITS-1:0]        ahead_at,
    output wire                        ahead_nonzero,
    // broadcast
    input  wire                        broadcast,
    input  wire [COLUMN_BITS-1:0]      column,
    input  wire [DATA_BITS-1:0]        activation,
    input  wire [MORE_BITS-1:0]        more,
    input  wire [EPOCH_BITS+4*(SUM_BITS+1)-1:0] place,
    input  wire                        mark,
    output wire                        full,
    output wire                        quiet,
    // outputs
    input  wire                        out_read,
    input  wire [RESULT_BITS-1:0]      out_at,
    output wire [DATA_BITS-1:0]        out,
    // to be counted
    output wire                        pointer_read,
    output wire                        row_read,
    output wire                        issue,
    output wire                        bubble,
    output wire                        padding,
    output wire                        saturated,
    output wire                        waits,
    output wire                        through,
    // a streamed layer's: columns below `landed` are there; one lands with its pointers, and a row of what came before
    input  wire [COLUMN_BITS:0]        landed,
    input  wire                        land,
    input  wire [COLUMN_BITS-1:0]      land_column,
    input  wire [POINTER_BITS-1:0]     land_from,
    input  wire [POINTER_BITS-1:0]     land_to,
    input  wire                        row_land,
    input  wire [SPMAT_BITS-1:0]       row_land_at,
    input  wire [ROW_NUMBER_BITS-1:0]  row_land_number,
    input  wire [ROW_BITS-1:0]         row_landed,
    // the host's port: one memory of this PE at a time
    input  wire [5:0]                  host_write,
    input  wire [HOST_BITS-1:0]        host_at,
    input  wire [ROW_BITS-1:0]         host_row,
    input  wire [POINTER_BITS-1:0]     host_pointer,
    input  wire [DATA_BITS-1:0]        host_data,
    input  wire                        host_mark
);
    // One PE is built and instantiated: left to itself the simulator writes out every one of them, for minutes.
    /* verilator no_inline_module */
    localparam QUEUE_BITS = $clog2(QUEUE_SLOTS);
    localparam PLACE_BITS = EPOCH_BITS + 4 * (SUM_BITS + 1);
    localparam HEAD_BITS = COLUMN_BITS + DATA_BITS + (SCATTER ? MORE_BITS + PLACE_BITS : 0) + (MARKED ? 1 : 0);
    localparam SUM_WIDTH = DATA_BITS + (SCATTER ? EPOCH_BITS : 0);

    wire                        empty, walking, opens, arithmetic_busy;
    wire [COLUMN_BITS-1:0]      head_column;
    wire [DATA_BITS-1:0]        head_activation, ahead;
    wire                        there;
    wire [POINTER_BITS-1:0]     entry;
    wire [WEIGHT_BITS-1:0]      code;
    wire [INDEX_BITS-1:0]       run;
    wire                        sum_read, sum_write;
    wire [SUM_BITS-1:0]         sum_read_at, sum_write_at;
    wire [SUM_WIDTH-1:0]        sum_word, sum_written;
    wire [HEAD_BITS-1:0]        head;
    wire [DATA_BITS-1:0]        start_word, out_word, evicted;
    wire                        evict;
    wire [EPOCH_BITS-1:0]       evict_epoch;
    wire [SUM_BITS-1:0]         evict_at;
    wire [MORE_BITS-1:0]        index;
    wire [PLACE_BITS-1:0]       open_place;
    reg  [DATA_BITS-1:0]        open_activation;  // of the column that is walked

    assign nonzero = source != 0;
    assign ahead_nonzero = ahead != 0;
    assign quiet = empty && !walking && !arithmetic_busy;

    wire [HEAD_BITS-1:0] pushed;
    act_queue #(.SLOTS(QUEUE_SLOTS), .SLOT_BITS(QUEUE_BITS), .WIDTH(HEAD_BITS)) act_queue (
        .clk(clk), .reset(reset || clear), .push(broadcast), .pushed(pushed),
        .pop(pointer_read), .full(full), .empty(empty), .head(head)
    );
    assign {head_column, head_activation} = head[COLUMN_BITS+DATA_BITS-1:0];

    generate
        if (SCATTER) begin : walk
            wire [MORE_BITS-1:0]  head_more;
            wire [PLACE_BITS-1:0] head_place;
            reg  [PLACE_BITS-1:0] walked_place;
            assign pushed = {place, more, column, activation};
            assign {head_place, head_more} = head[HEAD_BITS-1 -: PLACE_BITS+MORE_BITS];
            ptr_ranges #(
                .COLUMN_BITS(COLUMN_BITS), .POINTER_BITS(POINTER_BITS), .BANKS(BANKS), .SELECT_BITS(SELECT_BITS),
                .MORE_BITS(MORE_BITS), .BANK_DEPTH(BANK_DEPTH), .BANK_BITS(BANK_BITS)
            ) ptr_ranges (
                .clk(clk), .reset(reset || clear), .waiting(!empty), .column(head_column), .more(head_more),
                .pop(pointer_read), .busy(walking), .issue(issue), .bubble(bubble), .opens(opens), .entry(entry),
                .index(index), .write(host_write[1]), .write_at(host_at[BANK_BITS+SELECT_BITS-1:0]),
                .written(host_pointer)
            );
            always @(posedge clk) if (pointer_read) walked_place <= head_place;
            assign open_place = walked_place;
            assign {there, waits, through} = 3'b100;
        end else begin : one_column
            assign pushed = {mark, column, activation};
            // Columns land in ascending order; one that came for an earlier product carries its mark.
            assign there = !STREAMED || {1'b0, head_column} < landed || (MARKED && head[HEAD_BITS-1]);
            ptr_read #(
                .COLUMN_BITS(COLUMN_BITS), .POINTER_BITS(POINTER_BITS), .BANK_DEPTH(BANK_DEPTH), .BANK_BITS(BANK_BITS),
                .STREAMED(STREAMED)
            ) ptr_read (
                .clk(clk), .reset(reset || clear), .waiting(!empty), .column(head_column), .pop(pointer_read),
                .busy(walking), .issue(issue), .bubble(bubble), .opens(opens), .entry(entry),
                .there(there), .waits(waits), .through(through),
                .land(land), .land_column(land_column), .land_from(land_from), .land_to(land_to),
                .write_even(host_write[1]), .write_odd(host_write[2]),
                .write_at(host_at[BANK_BITS-1:0]), .written(host_pointer)
            );
            assign index = {MORE_BITS{1'b0}};
            assign open_place = {PLACE_BITS{1'b0}};
        end
    endgenerate
    always @(posedge clk) if (pointer_read) open_activation <= head_activation;

    spmat_read #(
        .INDEX_BITS(INDEX_BITS), .WEIGHT_BITS(WEIGHT_BITS), .ROW_BITS(ROW_BITS), .POINTER_BITS(POINTER_BITS),
        .DEPTH(SPMAT_DEPTH), .ADDRESS_BITS(SPMAT_BITS), .STREAMED(STREAMED), .FIFO(FIFO),
        .ROW_NUMBER_BITS(ROW_NUMBER_BITS)
    ) spmat_read (
        .clk(clk), .reset(reset || clear), .issue(issue), .entry(entry), .row_read(row_read), .code(code), .run(run),
        .write(host_write[0]), .write_at(host_at[SPMAT_BITS-1:0]), .written(host_row),
        .land(row_land), .land_at(row_land_at), .land_row(row_land_number), .landed(row_landed)
    );
    arithm #(
        .INDEX_BITS(INDEX_BITS), .WEIGHT_BITS(WEIGHT_BITS), .DATA_BITS(DATA_BITS), .SUM_BITS(SUM_BITS),
        .SHIFT_BITS(SHIFT_BITS), .SCATTER(SCATTER), .EPOCH_BITS(EPOCH_BITS), .MORE_BITS(MORE_BITS),
        .ROW_DEPTH(ROW_DEPTH)
    ) arithm (
        .clk(clk), .reset(reset || clear), .shift(shift),
        .issue(issue), .bubble(bubble), .opens(opens), .activation(open_activation), .code(code), .run(run),
        .index(index), .place(open_place), .strip(strip),
        .sum_read(sum_read), .sum_read_at(sum_read_at), .sum_word(sum_word), .start_word(start_word),
        .sum_write(sum_write), .sum_write_at(sum_write_at), .sum_written(sum_written),
        .evict(evict), .evict_epoch(evict_epoch), .evict_at(evict_at), .evicted(evicted),
        .busy(arithmetic_busy), .padding(padding), .saturated(saturated),
        .write(host_write[3]), .write_at(host_at[WEIGHT_BITS-1:0]), .written(host_data)
    );
    // By scatter an accumulator may begin anew in the middle of a pass, from the same start.
    wire                reads_start = start_read || (SCATTER && sum_read);
    wire [SUM_BITS-1:0] from_start = SCATTER && !start_read ? sum_read_at : start_at;
    wire                reads_out;
    wire [SUM_BITS-1:0] from_out;
    act_rw #(
        .DATA_BITS(DATA_BITS), .SCAN_DEPTH(SCAN_DEPTH), .SCAN_BITS(SCAN_BITS), .SUMS(SUMS), .SUM_BITS(SUM_BITS),
        .SUM_WIDTH(SUM_WIDTH), .STARTS(STARTS), .START_BITS(START_BITS),
        .MARKED(MARKED), .AHEAD(AHEAD)
    ) act_rw (
        .clk(clk), .scan_read(scan_read), .scan_at(scan_at), .source(source), .marked(marked),
        .ahead_read(ahead_read), .ahead_at(ahead_at), .ahead(ahead),
        .start_read(reads_start), .start_write(start_write), .start_at(first_start + from_start),
        .start_write_at(start_write_at), .start_word(start_word),
        .out_read(reads_out), .out_at(from_out), .relu(relu), .out(out_word),
        .sum_read(sum_read), .sum_read_at(sum_read_at), .sum_word(sum_word),
        .sum_write(sum_write), .sum_write_at(sum_write_at), .sum_written(sum_written),
        .write_source(host_write[4]), .write_source_at(host_at[SCAN_BITS-1:0]), .written_source(host_data),
        .written_mark(host_mark),
        .write_start(host_write[5]), .write_start_at(host_at[START_BITS-1:0]), .written_start(host_data)
    );

    generate
        if (STORED) begin : stored
            wire [EPOCH_BITS-1:0] sum_epoch;
            if (SCATTER) assign sum_epoch = sum_word[SUM_WIDTH-1 -: EPOCH_BITS];
            else assign sum_epoch = {EPOCH_BITS{1'b0}};
            act_sram #(
                .DATA_BITS(DATA_BITS), .EPOCH_BITS(EPOCH_BITS), .SUM_BITS(SUM_BITS), .DEPTH(RESULTS),
                .ADDRESS_BITS(RESULT_BITS)
            ) act_sram (
                .clk(clk), .relu(relu), .first(first_result), .start_write(start_write),
                .start_epoch(start_write_epoch), .start_at(start_write_at), .start(start_word),
                .evict(evict), .evict_epoch(evict_epoch), .evict_at(evict_at), .evicted(evicted),
                .empty_write(empty_write), .empty_epoch(sum_epoch), .empty_at(empty_write_at),
                .emptied(sum_word[DATA_BITS-1:0]), .read(out_read), .read_at(out_at), .out(out)
            );
            assign reads_out = empty_read;
            assign from_out = empty_at;
        end else begin : read_out
            assign reads_out = out_read;
            assign from_out = out_at;
            assign out = out_word;
        end
    endgenerate
endmodule
