// Of the bench, for a streamed layer: DRAM, its bus and the DMA that writes what comes into the PEs. Not synthesized.
//
// It plays the rules of docs/cycle-model.md, "Streamed weights", on what it can see: the columns' sizes in DRAM, the bus's
// width, the columns that the accelerator wants, and the PEs that are through with theirs. A column goes through
//
//     wanted     by the scanner that looks ahead (all of them, in order, where the whole layer comes)
//     requested  in order, when its half of the buffer is free
//     on the bus LATENCY cycles later, one column at a time, for as many cycles as its bits take
//     landed     in the last of these: PEs may take it from the next cycle on
//
// What has landed is written a row of the sparse matrix a cycle and PE, its pointers at once. Each cycle is worked out in the
// middle of it, on the negative edge, when the registers' outputs stand.
module bus (
    clk, product, origin, last_row, has_bias, prepare, prepared, running, broadcast, column, taken, through, want, want_column, source_write, source_at,
    sources, marks, to_come, land, land_column, land_from, land_to, row_land, row_land_at, row_land_number, row_landed,
    bus_cycles, dram_bits, too_early
);
    `include "config.vh"
    localparam ENTRY_BITS = INDEX_BITS + WEIGHT_BITS;
    localparam ROW_ENTRIES = ROW_BITS / ENTRY_BITS;

    input  wire                           clk;
    // of the batch that runs next, or runs
    input  wire [31:0]                    product;
    input  wire [COLUMN_BITS-1:0]         origin;
    input  wire [SCAN_BITS-1:0]           last_row;
    input  wire                           has_bias;
    // before it: what may come ahead
    input  wire                           prepare;
    output reg                            prepared;
    // of the accelerator
    input  wire                           running;
    input  wire                           broadcast;
    input  wire [COLUMN_BITS-1:0]         column;
    input  wire [PES-1:0]                 taken;
    input  wire [PES-1:0]                 through;
    input  wire                           want;
    input  wire [COLUMN_BITS-1:0]         want_column;
    // source activations, as they are written: which of them are zero is known before the layer starts
    input  wire                           source_write;
    input  wire [HOST_BITS-1:0]           source_at;
    input  wire [PES*DATA_BITS-1:0]       sources;
    output wire [PES-1:0]                 marks;
    // to it
    output reg                            to_come;
    output reg                            land;
    output reg  [COLUMN_BITS-1:0]         land_column;
    output reg  [PES*POINTER_BITS-1:0]    land_from;
    output reg  [PES*POINTER_BITS-1:0]    land_to;
    output reg  [PES-1:0]                 row_land;
    output reg  [PES*SPMAT_BITS-1:0]      row_land_at;
    output reg  [PES*ROW_NUMBER_BITS-1:0] row_land_number;
    output reg  [PES*ROW_BITS-1:0]        row_landed;
    // to be counted
    output reg  [31:0]                    bus_cycles;
    output reg  [31:0]                    dram_bits;
    output reg  [31:0]                    too_early;

    // DRAM: every PE's image.
    reg [ROW_BITS-1:0]     dram [0:PES*IMAGE_ROWS-1];
    reg [POINTER_BITS-1:0] pointers [0:PES*2*BANK_DEPTH-1];
    reg [ROW_BITS-1:0]     rows [0:IMAGE_ROWS-1];
    reg [POINTER_BITS-1:0] evens [0:BANK_DEPTH-1];
    reg [POINTER_BITS-1:0] odds [0:BANK_DEPTH-1];
    reg [8*32-1:0]         name;

    // Of each column: its bits in whole bursts, and what they take on the bus; whether its activation is not zero.
    reg [63:0] bits [0:COLUMNS-1];
    integer    beats [0:COLUMNS-1];
    reg        active [0:COLUMNS-1];
    reg        known [0:COLUMNS-1];
    reg        arrived [0:COLUMNS-1];
    integer    block_of [0:COLUMNS-1];
    // Columns in order: those that are wanted, of which `requested` have been asked for and `received` have come; those
    // broadcast, of which a PE has taken so many, and been through with so many.
    integer    wanted [0:COLUMNS-1];
    integer    due [0:COLUMNS-1];
    integer    sent [0:COLUMNS-1];
    integer    taken_by [0:PES-1];
    integer    left_by [0:PES-1];
    integer    last_wanted, requested, begun, received, broadcasts;
    // The buffer: what the fullest half has of each PE, and how many columns of each block are not through, over all PEs.
    integer    fill [0:PES-1];
    integer    unread [0:COLUMNS];
    integer    block;
    // Rows that are to be written: a PE's next column in the order of arrival, and its next entry.
    integer    writing [0:PES-1];
    integer    entry [0:PES-1];
    reg        opened [0:PES-1];
    integer    row_of [0:PES-1];
    integer    lies_at [0:PES-1];
    reg [ROW_BITS-1:0] composed [0:PES-1];
    // What has been written of every row, where it stays for the products that follow.
    reg [ROW_BITS-1:0] kept [0:PES*IMAGE_ROWS-1];

    reg [63:0] entries;
    integer    cycle, beats_left, beats_owed, p, i, last, slot;
    reg        preparing, fits, idle;

    function integer pointer(input integer pe, input integer number);
        pointer = pointers[pe * 2 * BANK_DEPTH + number];
    endfunction

    // Whether a product begins a turn, for which the layer is loaded anew; and the columns of a batch, each a stream of its own.
    wire loads = product % TURN == 0;
    wire first = origin == 0;
    wire [31:0] behind = origin + BATCH_ROWS * PES;
    wire [31:0] end_of_batch = behind < COLUMNS - HAS_BIAS ? behind : COLUMNS;

    genvar g;
    generate
        for (g = 0; g < PES; g = g + 1) begin : of_pe
            // The bias has a scan row of its own, and the last column.
            wire [31:0] place = origin + source_at * PES + g;
            wire        bias = has_bias && source_at == last_row;
            wire [31:0] number = bias ? BIAS_COLUMN : place;
            wire        none = bias ? g != 0 : place >= COLUMNS - HAS_BIAS;
            assign marks[g] = MARKED && !loads && !none && arrived[none ? 0 : number];
            always @(posedge clk) if (source_write && !none) active[number] <= sources[g*DATA_BITS +: DATA_BITS] != 0;
        end
    endgenerate

    initial begin
        for (p = 0; p < PES; p = p + 1) begin
            $sformat(name, "images/spmat_%0d.hex", p);
            $readmemh(name, rows);
            $sformat(name, "images/ptr_even_%0d.hex", p);
            $readmemh(name, evens);
            $sformat(name, "images/ptr_odd_%0d.hex", p);
            $readmemh(name, odds);
            for (i = 0; i < IMAGE_ROWS; i = i + 1) dram[p * IMAGE_ROWS + i] = rows[i];
            for (i = 0; i < BANK_DEPTH; i = i + 1) begin
                pointers[p * 2 * BANK_DEPTH + 2 * i] = evens[i];
                pointers[p * 2 * BANK_DEPTH + 2 * i + 1] = odds[i];
            end
        end
        for (i = 0; i < COLUMNS; i = i + 1) begin
            entries = 0;
            for (p = 0; p < PES; p = p + 1) entries = entries + pointer(p, i + 1) - pointer(p, i);
            // A column is its entries, of all PEs, and a pointer a PE, in whole bursts.
            bits[i] = (entries * ENTRY_BITS + PES * BUS_POINTER_BITS + BURST_BITS - 1) / BURST_BITS * BURST_BITS;
            // RATE_BITS in RATE_CYCLES cycles, rounded up.
            entries = (bits[i] * RATE_CYCLES + RATE_BITS - 1) / RATE_BITS;
            beats[i] = entries == 0 ? 1 : entries;
            active[i] = 0;
            arrived[i] = 0;
        end
        preparing = 0;
        prepared = 0;
        to_come = 0;
        land = 0;
        row_land = 0;
        received = 0;
        for (p = 0; p < PES; p = p + 1) writing[p] = 0;
    end

    // What is left of the last product goes.
    task begin_product;
        begin
            cycle = 0;
            {bus_cycles, dram_bits, too_early} = 0;
            {last_wanted, requested, begun, received, broadcasts} = 0;
            {block, beats_left, beats_owed} = 0;
            idle = 1;
            for (p = 0; p < PES; p = p + 1) begin
                fill[p] = 0;
                taken_by[p] = 0;
                left_by[p] = 0;
                writing[p] = 0;
                opened[p] = 0;
                if (first && loads) begin
                    row_of[p] = -1;
                    lies_at[p] = -1;
                end
            end
            if (first && loads) for (i = 0; i < PES * IMAGE_ROWS; i = i + 1) kept[i] = {ROW_BITS{1'bx}};
            for (i = 0; i < COLUMNS; i = i + 1) begin
                if (first && loads) arrived[i] = 0;
                known[i] = arrived[i];
                block_of[i] = -1;
                unread[i] = 0;
            end
            unread[COLUMNS] = 0;
            // All columns are wanted where the whole layer comes; the first half of the buffer was filled before.
            if (WHOLE && loads) begin
                for (i = origin; i < end_of_batch; i = i + 1) wanted[i - origin] = i;
                last_wanted = end_of_batch - origin;
            end
        end
    endtask

    // Whether every PE has room in the half that is being filled for what column `i` brings.
    task look(input integer number);
        begin
            fits = 1;
            for (p = 0; p < PES; p = p + 1)
                if (fill[p] + pointer(p, number + 1) - pointer(p, number) > HALF) fits = 0;
        end
    endtask

    task place(input integer number);
        begin
            for (p = 0; p < PES; p = p + 1) fill[p] = fill[p] + pointer(p, number + 1) - pointer(p, number);
            block_of[number] = block;
            if (active[number]) unread[block] = unread[block] + PES;
        end
    endtask

    // Requests go out in order, any number in a cycle.
    task request;
        begin
            look(wanted[requested]);
            // The half that would be next is free when no PE has anything of the block in it to issue.
            while (requested < last_wanted && (fits || HELD || block == 0 || unread[block - 1] == 0)) begin
                if (!fits) begin
                    block = block + 1;
                    for (p = 0; p < PES; p = p + 1) fill[p] = 0;
                end
                place(wanted[requested]);
                due[requested] = cycle + LATENCY;
                requested = requested + 1;
                if (requested < last_wanted) look(wanted[requested]);
            end
        end
    endtask

    task receive(input integer number);
        begin
            land = 1;
            land_column = number;
            for (p = 0; p < PES; p = p + 1) begin
                land_from[p*POINTER_BITS +: POINTER_BITS] = pointer(p, number);
                land_to[p*POINTER_BITS +: POINTER_BITS] = pointer(p, number + 1);
            end
            received = received + 1;
            bus_cycles = bus_cycles + beats[number];
            dram_bits = dram_bits + bits[number];
        end
    endtask

    task move;
        begin
            if (idle && begun < requested && due[begun] <= cycle) begin
                beats_left = beats[wanted[begun]];
                begun = begun + 1;
                idle = 0;
            end
            if (!idle) begin
                beats_left = beats_left - 1;
                if (beats_left == 0) begin
                    receive(wanted[begun - 1]);
                    idle = 1;
                end
            end else if (beats_owed > 0) beats_owed = beats_owed - 1;
        end
    endtask

    // One row a PE: what has landed of it.
    task write_rows;
        for (p = 0; p < PES; p = p + 1) begin
            row_land[p] = 0;
            // A column that holds nothing of a PE writes no row of it.
            while (writing[p] < received && !row_land[p]) begin
                if (!opened[p]) entry[p] = pointer(p, wanted[writing[p]]);
                opened[p] = 1;
                last = pointer(p, wanted[writing[p]] + 1);
                if (entry[p] < last) begin
                    if (entry[p] / ROW_ENTRIES != row_of[p]) begin
                        row_of[p] = entry[p] / ROW_ENTRIES;
                        lies_at[p] = FIFO ? (lies_at[p] + 1) % SPMAT_DEPTH : row_of[p] % SPMAT_DEPTH;
                        composed[p] = HELD ? kept[p * IMAGE_ROWS + row_of[p]] : {ROW_BITS{1'bx}};
                    end
                    while (entry[p] < last && entry[p] / ROW_ENTRIES == row_of[p]) begin
                        slot = entry[p] % ROW_ENTRIES * ENTRY_BITS;
                        composed[p][slot +: ENTRY_BITS] = dram[p * IMAGE_ROWS + row_of[p]][slot +: ENTRY_BITS];
                        entry[p] = entry[p] + 1;
                    end
                    kept[p * IMAGE_ROWS + row_of[p]] = composed[p];
                    row_land[p] = 1;
                    row_land_at[p*SPMAT_BITS +: SPMAT_BITS] = lies_at[p];
                    row_land_number[p*ROW_NUMBER_BITS +: ROW_NUMBER_BITS] = row_of[p];
                    row_landed[p*ROW_BITS +: ROW_BITS] = composed[p];
                end
                if (entry[p] == last) begin
                    writing[p] = writing[p] + 1;
                    opened[p] = 0;
                end
            end
        end
    endtask

    // Ahead of a product, a column a cycle: the layer before it has let the bus go for as long as this one will.
    task prepare_product;
        begin
            fits = 0;
            if (preparing && WHOLE && requested < last_wanted) look(wanted[requested]);
            if (fits) begin
                place(wanted[requested]);
                beats_owed = beats_owed + beats[wanted[requested]];
                receive(wanted[requested]);
                requested = requested + 1;
                begun = begun + 1;
            end
            write_rows;
            if (!fits && row_land == 0) begin
                // Of the batch before this one nothing is left to write; or of this one.
                if (!preparing) begin_product;
                else prepared = 1;
                preparing = !preparing;
            end
        end
    endtask

    task run_cycle;
        begin
            cycle = cycle + 1;
            // A PE that sends a column's last slot in this cycle has been through with it since the last one's end.
            for (p = 0; p < PES; p = p + 1)
                if (through[p]) begin
                    i = block_of[sent[left_by[p]]];
                    if (i >= 0) unread[i] = unread[i] - 1;
                    left_by[p] = left_by[p] + 1;
                end
            for (p = 0; p < PES; p = p + 1)
                if (taken[p]) begin
                    if (!arrived[sent[taken_by[p]]]) too_early = too_early + 1;
                    taken_by[p] = taken_by[p] + 1;
                end
            if (broadcast) begin
                sent[broadcasts] = column;
                broadcasts = broadcasts + 1;
            end
            if (want && !WHOLE && !known[want_column]) begin
                wanted[last_wanted] = want_column;
                last_wanted = last_wanted + 1;
                known[want_column] = 1;
            end
            if (requested < last_wanted) request;
            move;
            write_rows;
            to_come = requested < last_wanted || begun < requested || !idle || beats_owed > 0;
        end
    endtask

    always @(negedge clk) begin
        // What landed in the last cycle can be taken from this one on.
        if (land) arrived[land_column] = 1;
        land = 0;
        row_land = 0;
        if (prepare && !prepared) prepare_product;
        else if (running) run_cycle;
        else write_rows;
        if (!prepare) prepared = 0;
    end
endmodule
