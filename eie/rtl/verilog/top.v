// The accelerator: central control, P processing elements, and between them the broadcast.
//
// Row i of the matrix belongs to PE i mod P, activation j to PE j mod P. `start` begins a layer, whose numbers stand on
// the inputs until `done`; then `out_read` brings outputs g * P .. g * P + P - 1 of accumulators g to `outs`, a cycle later.
//
// STREAMED, a layer's columns come while it runs. AHEAD, a second scanner, which no queue stalls, tells which are wanted.
module top #(
    parameter PES = 64,
    parameter QUEUE_SLOTS = 8,
    parameter INDEX_BITS = 4,
    parameter WEIGHT_BITS = 4,
    parameter DATA_BITS = 16,
    parameter ROW_BITS = 64,
    parameter POINTER_BITS = 16,
    parameter COLUMN_BITS = 12,
    parameter BANK_DEPTH = 2048,
    parameter BANK_BITS = 12,
    parameter SPMAT_DEPTH = 16384,
    parameter SPMAT_BITS = 14,
    parameter SCAN_DEPTH = 64,
    parameter SCAN_BITS = 6,
    parameter SUMS = 64,
    parameter SUM_BITS = 6,
    parameter SHIFT_BITS = 6,
    parameter HOST_BITS = 16,
    parameter LANE_BITS = 6,
    // layers with several passes or by scatter, whose outputs are stored, in RESULTS words
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
    parameter PASSES = 1,
    parameter PASS_BITS = 1,
    parameter LANE_COLUMNS = 1,
    parameter MAP_ROWS = 1,
    parameter MAP_ROW_BITS = 1,
    parameter MAP_COLUMNS = 1,
    parameter MAP_COLUMN_BITS = 1,
    parameter PART_BITS = 1,
    parameter HOST_WORD_BITS = 1,
    parameter STREAMED = 0,
    parameter FIFO = 0,
    parameter MARKED = 0,
    parameter AHEAD = 0,
    parameter ROW_NUMBER_BITS = 14
) (
    input  wire                      clk,
    input  wire                      reset,
    // a layer
    input  wire                      start,
    input  wire                      resume,
    input  wire [COLUMN_BITS-1:0]    origin,
    input  wire [SCAN_BITS-1:0]      last_row,
    input  wire                      has_bias,
    input  wire [COLUMN_BITS-1:0]    bias_column,
    input  wire [SUM_BITS-1:0]       last_sum,
    input  wire [SHIFT_BITS-1:0]     shift,
    input  wire                      relu,
    input  wire [PASS_BITS-1:0]      last_pass,
    input  wire [EPOCH_BITS-1:0]     last_epoch,
    output wire                      pass_done,
    output wire                      running,
    output wire                      done,
    // its outputs
    input  wire                      out_read,
    input  wire [RESULT_BITS-1:0]    out_at,
    output wire [PES*DATA_BITS-1:0]  outs,
    // to be counted: of central control, and a bit a PE
    output wire                      broadcast,
    output wire                      stall,
    output wire                      dead,
    output wire [PES-1:0]            pointer_read,
    output wire [PES-1:0]            row_read,
    output wire [PES-1:0]            issue,
    output wire [PES-1:0]            bubble,
    output wire [PES-1:0]            padding,
    output wire [PES-1:0]            saturated,
    // a streamed layer: columns that are wanted, PEs that wait for theirs, PEs that are through with one
    output wire                      want,
    output wire [COLUMN_BITS-1:0]    want_column,
    output wire [PES-1:0]            waits,
    output wire [PES-1:0]            through,
    // the bus: whether more is to come, a column that lands with its pointers, rows of what has landed, a PE each
    input  wire                      to_come,
    input  wire                      land,
    input  wire [COLUMN_BITS-1:0]    land_column,
    input  wire [PES*POINTER_BITS-1:0] land_from,
    input  wire [PES*POINTER_BITS-1:0] land_to,
    input  wire [PES-1:0]            row_land,
    input  wire [PES*SPMAT_BITS-1:0] row_land_at,
    input  wire [PES*ROW_NUMBER_BITS-1:0] row_land_number,
    input  wire [PES*ROW_BITS-1:0]   row_landed,
    // the host's port: one memory, in the PEs that `host_pes` names, at a time. Memories by their bit: sparse matrix, even
    // pointers, odd pointers, codebook, source activations, starts of accumulators; passes, rows and columns of the map
    input  wire [PES-1:0]            host_pes,
    input  wire [8:0]                host_write,
    input  wire [HOST_BITS-1:0]      host_at,
    input  wire [ROW_BITS-1:0]       host_row,
    input  wire [POINTER_BITS-1:0]   host_pointer,
    input  wire [PES*DATA_BITS-1:0]  host_data,
    input  wire [HOST_WORD_BITS-1:0] host_word,
    input  wire [PES-1:0]            host_mark
);
    wire                     clear, start_read, start_write, scan_read;
    wire [SUM_BITS-1:0]      start_at, start_write_at;
    wire [SCAN_BITS-1:0]     scan_at, ahead_at;
    wire [LANE_BITS-1:0]     lane;
    wire [COLUMN_BITS-1:0]   column;
    wire [PES-1:0]           nonzero, full, quiet, marked, ahead_nonzero;
    wire                     ahead_read;
    wire [COLUMN_BITS:0]     landed;
    wire [PES*DATA_BITS-1:0] sources;

    // What a pass is. Without passes of its own a layer is one: all of it, from 0 on.
    localparam PLACE_BITS = EPOCH_BITS + 4 * (SUM_BITS + 1);
    localparam PASS_WIDTH = 2 * SCAN_BITS + COLUMN_BITS + START_BITS + RESULT_BITS + 4 * (SUM_BITS + 1)
                            + MAP_ROW_BITS + 2 * MAP_COLUMN_BITS + PART_BITS;
    wire [SCAN_BITS-1:0]       pass_first_row, pass_last_row;
    wire [COLUMN_BITS-1:0]     pass_origin, pass_bias_column, offset;
    wire [START_BITS-1:0]      first_start;
    wire [RESULT_BITS-1:0]     first_result;
    wire [4*(SUM_BITS+1)-1:0]  strip;
    wire [MAP_ROW_BITS-1:0]    first_map_row;
    wire [MAP_COLUMN_BITS-1:0] first_map_column, last_map_column;
    wire [PART_BITS-1:0]       last_part;
    wire [EPOCH_BITS-1:0]      start_write_epoch;
    wire                       begins, load, step, new_pixel, empty_read, empty_write;
    wire [SUM_BITS-1:0]        empty_at, empty_write_at;
    wire [MORE_BITS-1:0]       more;
    wire [PLACE_BITS-1:0]      place;
    generate
        if (STORED) begin : sequenced
            wire [PASS_WIDTH-1:0] pass;
            pass_control #(
                .PASSES(PASSES), .PASS_BITS(PASS_BITS), .WIDTH(PASS_WIDTH), .SUM_BITS(SUM_BITS)
            ) pass_control (
                .clk(clk), .reset(reset), .start(start), .last_pass(last_pass), .last_sum(last_sum), .done(done),
                .begins(begins), .pass_done(pass_done), .pass(pass), .empty_read(empty_read), .empty_at(empty_at),
                .empty_write(empty_write), .empty_write_at(empty_write_at),
                .write(host_write[6]), .write_at(host_at[PASS_BITS-1:0]), .written(host_word[PASS_WIDTH-1:0])
            );
            assign {last_part, last_map_column, first_map_column, first_map_row, strip, first_result, first_start,
                    pass_origin, pass_last_row, pass_first_row} = pass;
            assign pass_bias_column = pass_origin + bias_column;
        end else begin : at_once
            assign {last_part, last_map_column, first_map_column, first_map_row, strip, first_result, first_start} = 0;
            assign pass_origin = origin;
            assign pass_bias_column = bias_column;
            assign pass_first_row = {SCAN_BITS{1'b0}};
            assign pass_last_row = last_row;
            assign begins = start;
            assign done = pass_done;
            assign {empty_read, empty_write} = 2'b0;
            assign {empty_at, empty_write_at} = {2*SUM_BITS{1'b0}};
        end
        if (SCATTER) begin : walked
            map_walk #(
                .ROWS(MAP_ROWS), .ROW_BITS(MAP_ROW_BITS), .COLUMNS(MAP_COLUMNS), .COLUMN_BITS(MAP_COLUMN_BITS),
                .PART_BITS(PART_BITS), .OFFSET_BITS(COLUMN_BITS), .MORE_BITS(MORE_BITS), .SUM_BITS(SUM_BITS),
                .EPOCH_BITS(EPOCH_BITS)
            ) map_walk (
                .clk(clk), .load(load), .step(step), .first_row(first_map_row), .first_column(first_map_column),
                .last_column(last_map_column), .last_part(last_part), .new_pixel(new_pixel), .offset(offset),
                .more(more), .place(place),
                .write_row(host_write[7]), .write_row_at(host_at[MAP_ROW_BITS-1:0]),
                .written_row(host_word[COLUMN_BITS+EPOCH_BITS+3*(SUM_BITS+1)-1:0]),
                .write_column(host_write[8]), .write_column_at(host_at[MAP_COLUMN_BITS-1:0]),
                .written_column(host_word[COLUMN_BITS+MORE_BITS+SUM_BITS:0])
            );
        end else begin : not_walked
            assign new_pixel = 1'b0;
            assign offset = {COLUMN_BITS{1'b0}};
            assign more = {MORE_BITS{1'b0}};
            assign place = {PLACE_BITS{1'b0}};
        end
    endgenerate

    central_control #(
        .LANES(PES), .LANE_BITS(LANE_BITS), .SCAN_BITS(SCAN_BITS), .COLUMN_BITS(COLUMN_BITS), .SUM_BITS(SUM_BITS),
        .LANE_COLUMNS(LANE_COLUMNS), .EPOCH_BITS(EPOCH_BITS)
    ) central_control (
        .clk(clk), .reset(reset), .start(begins), .resume(resume), .last_row(pass_last_row), .has_bias(has_bias),
        .bias_column(pass_bias_column), .last_sum(last_sum), .first_row(pass_first_row), .origin(pass_origin),
        .last_epoch(last_epoch), .new_pixel(new_pixel), .offset(offset), .nonzero(nonzero), .any_full(|full),
        .all_quiet(&quiet), .to_come(STREAMED != 0 && to_come),
        .clear(clear), .start_read(start_read), .start_write(start_write), .start_at(start_at),
        .start_write_at(start_write_at), .start_write_epoch(start_write_epoch), .load(load), .step(step),
        .scan_read(scan_read), .scan_at(scan_at), .broadcast(broadcast), .lane(lane),
        .column(column), .running(running), .stall(stall), .dead(dead), .done(pass_done)
    );

    generate
        if (AHEAD) begin : ahead
            central_control #(
                .LANES(PES), .LANE_BITS(LANE_BITS), .SCAN_BITS(SCAN_BITS), .COLUMN_BITS(COLUMN_BITS), .SUM_BITS(SUM_BITS)
            ) look_ahead (
                .clk(clk), .reset(reset), .start(start), .resume(resume), .origin(origin), .last_row(last_row),
                .has_bias(has_bias), .bias_column(bias_column), .last_sum(last_sum), .first_row({SCAN_BITS{1'b0}}),
                .last_epoch(1'b0), .new_pixel(1'b0), .offset({COLUMN_BITS{1'b0}}), .nonzero(ahead_nonzero), .any_full(1'b0),
                .all_quiet(1'b1), .to_come(1'b0), .clear(), .start_read(), .start_write(), .start_at(),
                .start_write_at(), .start_write_epoch(), .load(), .step(), .scan_read(ahead_read), .scan_at(ahead_at), .broadcast(want), .lane(),
                .column(want_column), .running(), .stall(), .dead(), .done()
            );
        end else begin : not_ahead
            assign ahead_read = 1'b0;
            assign ahead_at = {SCAN_BITS{1'b0}};
            assign want = 1'b0;
            assign want_column = {COLUMN_BITS{1'b0}};
        end
        // What lands between two layers is there when the next begins.
        if (STREAMED) begin : landing
            reg [COLUMN_BITS:0] below;
            always @(posedge clk)
                if (reset || done) below <= 0;
                else if (land) below <= {1'b0, land_column} + 1'b1;
            assign landed = below;
        end else begin : resident
            assign landed = {(COLUMN_BITS+1){1'b0}};
        end
    endgenerate

    wire [DATA_BITS-1:0] activation = sources[lane * DATA_BITS +: DATA_BITS];

    genvar p;
    generate
        for (p = 0; p < PES; p = p + 1) begin : pes
            pe #(
                .QUEUE_SLOTS(QUEUE_SLOTS), .INDEX_BITS(INDEX_BITS), .WEIGHT_BITS(WEIGHT_BITS), .DATA_BITS(DATA_BITS),
                .ROW_BITS(ROW_BITS), .POINTER_BITS(POINTER_BITS), .COLUMN_BITS(COLUMN_BITS), .BANK_DEPTH(BANK_DEPTH),
                .BANK_BITS(BANK_BITS), .SPMAT_DEPTH(SPMAT_DEPTH), .SPMAT_BITS(SPMAT_BITS), .SCAN_DEPTH(SCAN_DEPTH),
                .SCAN_BITS(SCAN_BITS), .SUMS(SUMS), .SUM_BITS(SUM_BITS), .SHIFT_BITS(SHIFT_BITS), .HOST_BITS(HOST_BITS),
                .STORED(STORED), .STARTS(STARTS), .START_BITS(START_BITS), .RESULTS(RESULTS), .RESULT_BITS(RESULT_BITS),
                .SCATTER(SCATTER), .EPOCH_BITS(EPOCH_BITS), .MORE_BITS(MORE_BITS), .BANKS(BANKS),
                .SELECT_BITS(SELECT_BITS), .ROW_DEPTH(ROW_DEPTH),
                .STREAMED(STREAMED), .FIFO(FIFO), .MARKED(MARKED), .AHEAD(AHEAD), .ROW_NUMBER_BITS(ROW_NUMBER_BITS)
            ) pe (
                .clk(clk), .reset(reset), .clear(clear), .start_read(start_read), .start_write(start_write),
                .start_at(start_at), .start_write_at(start_write_at), .start_write_epoch(start_write_epoch),
                .first_start(first_start), .first_result(first_result), .strip(strip), .empty_read(empty_read),
                .empty_at(empty_at), .empty_write(empty_write), .empty_write_at(empty_write_at),
                .scan_read(scan_read), .scan_at(scan_at),
                .shift(shift), .relu(relu), .source(sources[p*DATA_BITS +: DATA_BITS]), .nonzero(nonzero[p]),
                .marked(marked[p]), .ahead_read(ahead_read), .ahead_at(ahead_at), .ahead_nonzero(ahead_nonzero[p]),
                .broadcast(broadcast), .column(column), .activation(activation), .more(more), .place(place),
                .mark(marked[lane]), .full(full[p]), .quiet(quiet[p]),
                .out_read(out_read), .out_at(out_at), .out(outs[p*DATA_BITS +: DATA_BITS]),
                .pointer_read(pointer_read[p]), .row_read(row_read[p]), .issue(issue[p]), .bubble(bubble[p]),
                .padding(padding[p]), .saturated(saturated[p]),
                .waits(waits[p]), .through(through[p]), .landed(landed),
                .land(land), .land_column(land_column), .land_from(land_from[p*POINTER_BITS +: POINTER_BITS]),
                .land_to(land_to[p*POINTER_BITS +: POINTER_BITS]),
                .row_land(row_land[p]), .row_land_at(row_land_at[p*SPMAT_BITS +: SPMAT_BITS]),
                .row_land_number(row_land_number[p*ROW_NUMBER_BITS +: ROW_NUMBER_BITS]),
                .row_landed(row_landed[p*ROW_BITS +: ROW_BITS]),
                .host_write(host_pes[p] ? host_write[5:0] : 6'b0), .host_at(host_at), .host_row(host_row),
                .host_pointer(host_pointer), .host_data(host_data[p*DATA_BITS +: DATA_BITS]),
                .host_mark(host_mark[p])
            );
        end
    endgenerate
endmodule
