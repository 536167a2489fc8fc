// The self-checking bench: runs every product of the layer, counts, compares, and stops with a failure on a difference.
//
// It stands for the host and for the DMA of the paper's I/O mode: weights come in through `$readmemh`, so that this takes no
// time (with HOST_PORT defined word by word through the host's port, as in a chip), activations through the port always. What is expected, counts and outputs, is what eie's other engines gave.
module bench;
    `include "config.vh"

    // As in expected.hex: of each product, then of each PE.
    localparam COUNTS = 14;
    localparam CYCLES = 0, BROADCASTS = 1, STALLS = 2, DEADS = 3, POINTER_READS = 4, ROW_READS = 5, ENTRIES = 6,
               PADDINGS = 7, EMPTIES = 8, SATURATIONS = 9, LOAD_WAITS = 10, BUS_CYCLES = 11, DRAM_BITS = 12,
               REGISTER_CYCLES = 13;
    localparam OF_PE = 4;
    localparam WORDS = COUNTS + OF_PE * PES;
    localparam SHOWN = 10;  // differences that are spelt out

    reg clk = 0;
    always #1 clk = ~clk;

    reg                      reset = 1, start = 0, resume = 0, out_read = 0;
    // The product and the batch that run.
    integer                  product = 0, batch = 0;
    reg  [COLUMN_BITS-1:0]   origin = 0;
    reg  [SCAN_BITS-1:0]     last_row = 0;
    reg                      has_bias = 0;
    reg  [RESULT_BITS-1:0]   out_at = 0;
    reg  [HOST_BITS-1:0]     host_at = 0;
    reg  [PES*DATA_BITS-1:0] host_data = 0;
    reg  [PES-1:0]           host_pes = {PES{1'b1}};
    reg  [8:0]               host_write = 0;
    reg  [HOST_WORD_BITS-1:0] host_word = 0;
    reg  [ROW_BITS-1:0]      host_row = 0;
    reg  [POINTER_BITS-1:0]  host_pointer = 0;
    wire                     running, done, pass_done, broadcast, stall, dead;
    wire [PES*DATA_BITS-1:0] outs;
    wire [PES-1:0]           pointer_read, row_read, issue, bubble, padding, saturated;

    // Of a streamed layer: the bus that brings its columns.
    reg                            prepare = 0;
    wire                           prepared, want, to_come, land;
    wire [COLUMN_BITS-1:0]         want_column, land_column;
    wire [PES-1:0]                 waits, through, row_land, marks;
    wire [PES*POINTER_BITS-1:0]    land_from, land_to;
    wire [PES*SPMAT_BITS-1:0]      row_land_at;
    wire [PES*ROW_NUMBER_BITS-1:0] row_land_number;
    wire [PES*ROW_BITS-1:0]        row_landed;
    wire [31:0]                    bus_cycles, dram_bits, too_early;

    top #(
        .PES(PES), .QUEUE_SLOTS(QUEUE_SLOTS), .INDEX_BITS(INDEX_BITS), .WEIGHT_BITS(WEIGHT_BITS), .DATA_BITS(DATA_BITS),
        .ROW_BITS(ROW_BITS), .POINTER_BITS(POINTER_BITS), .COLUMN_BITS(COLUMN_BITS), .BANK_DEPTH(BANK_DEPTH),
        .BANK_BITS(BANK_BITS), .SPMAT_DEPTH(SPMAT_DEPTH), .SPMAT_BITS(SPMAT_BITS), .SCAN_DEPTH(SCAN_DEPTH),
        .SCAN_BITS(SCAN_BITS), .SUMS(SUMS), .SUM_BITS(SUM_BITS), .SHIFT_BITS(SHIFT_BITS), .HOST_BITS(HOST_BITS),
        .LANE_BITS(LANE_BITS), .STORED(STORED), .STARTS(STARTS), .START_BITS(START_BITS), .RESULTS(RESULTS),
        .RESULT_BITS(RESULT_BITS), .PASSES(PASSES), .PASS_BITS(PASS_BITS), .SCATTER(SCATTER), .EPOCH_BITS(EPOCH_BITS),
        .MORE_BITS(MORE_BITS), .BANKS(BANKS), .SELECT_BITS(SELECT_BITS), .ROW_DEPTH(ROW_DEPTH),
        .LANE_COLUMNS(LANE_COLUMNS), .MAP_ROWS(MAP_ROWS), .MAP_ROW_BITS(MAP_ROW_BITS), .MAP_COLUMNS(MAP_COLUMNS),
        .MAP_COLUMN_BITS(MAP_COLUMN_BITS), .PART_BITS(PART_BITS), .HOST_WORD_BITS(HOST_WORD_BITS),
        .STREAMED(STREAMED), .FIFO(FIFO), .MARKED(MARKED), .AHEAD(AHEAD), .ROW_NUMBER_BITS(ROW_NUMBER_BITS)
    ) dut (
        .clk(clk), .reset(reset), .start(start), .resume(resume), .origin(origin), .last_row(last_row), .has_bias(has_bias),
        .bias_column(BIAS_COLUMN[COLUMN_BITS-1:0]), .last_sum(LAST_SUM[SUM_BITS-1:0]), .shift(SHIFT[SHIFT_BITS-1:0]),
        .relu(RELU[0]), .last_pass(LAST_PASS[PASS_BITS-1:0]), .last_epoch(LAST_EPOCH[EPOCH_BITS-1:0]),
        .pass_done(pass_done), .running(running), .done(done), .out_read(out_read), .out_at(out_at), .outs(outs),
        .broadcast(broadcast), .stall(stall), .dead(dead), .pointer_read(pointer_read), .row_read(row_read),
        .issue(issue), .bubble(bubble), .padding(padding), .saturated(saturated),
        .host_pes(host_pes), .host_write(host_write), .host_at(host_at), .host_row(host_row),
        .host_pointer(host_pointer), .host_data(host_data), .host_word(host_word), .host_mark(marks),
        .want(want), .want_column(want_column), .waits(waits), .through(through), .to_come(to_come),
        .land(land), .land_column(land_column), .land_from(land_from), .land_to(land_to), .row_land(row_land),
        .row_land_at(row_land_at), .row_land_number(row_land_number), .row_landed(row_landed)
    );
    generate
        if (STREAMED) begin : streamed
            bus bus (
                .clk(clk), .product(product), .origin(origin), .last_row(last_row), .has_bias(has_bias),
                .prepare(prepare), .prepared(prepared), .running(running), .broadcast(broadcast),
                .column(dut.column), .taken(pointer_read), .through(through), .want(want), .want_column(want_column),
                .source_write(host_write[4]), .source_at(host_at), .sources(host_data), .marks(marks),
                .to_come(to_come), .land(land), .land_column(land_column), .land_from(land_from), .land_to(land_to),
                .row_land(row_land), .row_land_at(row_land_at), .row_land_number(row_land_number),
                .row_landed(row_landed), .bus_cycles(bus_cycles), .dram_bits(dram_bits), .too_early(too_early)
            );
        end else begin : in_place
            assign prepared = 1'b1;
            assign {to_come, land, marks, row_land} = 0;
            assign {land_column, land_from, land_to, row_land_at, row_land_number, row_landed} = 0;
            assign {bus_cycles, dram_bits, too_early} = 0;
        end
    endgenerate

    // Memories by their bit of `host_write`.
    localparam [8:0] SPMAT = 1, EVEN_POINTERS = 2, ODD_POINTERS = 4, CODEBOOK = 8, SOURCES = 16, FIRST_SUMS = 32,
                     PASS_WORDS = 64, MAP_ROW_WORDS = 128, MAP_COLUMN_WORDS = 256;

`ifdef HOST_PORT
    reg [ROW_BITS-1:0]     rows [0:SPMAT_DEPTH-1];
    reg [POINTER_BITS-1:0] evens [0:BANK_DEPTH-1];
    reg [POINTER_BITS-1:0] odds [0:BANK_DEPTH-1];
    reg [DATA_BITS-1:0]    starts [0:STARTS-1];
    reg [HOST_WORD_BITS-1:0] words [0:HOST_WORDS-1];
    reg [DATA_BITS-1:0]    levels [0:(1<<WEIGHT_BITS)-1];
    reg [8*32-1:0]         name;

    // One word a cycle; where a PE is named, into that one alone.
    task load;
        begin
        if (STORED) begin
            $readmemh("images/passes.hex", words);
            for (i = 0; i < PASSES; i = i + 1) begin
                host_word = words[i];
                put(PASS_WORDS, i);
            end
        end
        if (SCATTER) begin
            $readmemh("images/map_rows.hex", words);
            for (i = 0; i < MAP_ROWS; i = i + 1) begin
                host_word = words[i];
                put(MAP_ROW_WORDS, i);
            end
            $readmemh("images/map_columns.hex", words);
            for (i = 0; i < MAP_COLUMNS; i = i + 1) begin
                host_word = words[i];
                put(MAP_COLUMN_WORDS, i);
            end
        end
        for (p = 0; p < PES; p = p + 1) begin
            host_pes = 1 << p;
            $sformat(name, "images/spmat_%0d.hex", p);
            $readmemh(name, rows);
            if (STREAMED) begin
                // What a streamed layer brings is in DRAM.
            end else if (SCATTER)
                for (b = 0; b < BANKS; b = b + 1) begin
                    $sformat(name, "images/ptr_%0d_%0d.hex", b, p);
                    $readmemh(name, evens);
                    for (i = 0; i < BANK_DEPTH; i = i + 1) begin
                        host_pointer = evens[i];
                        put(EVEN_POINTERS, i * BANKS + b);
                    end
                end
            else begin
                $sformat(name, "images/ptr_even_%0d.hex", p);
                $readmemh(name, evens);
                $sformat(name, "images/ptr_odd_%0d.hex", p);
                $readmemh(name, odds);
                for (i = 0; i < BANK_DEPTH; i = i + 1) begin
                    host_pointer = evens[i];
                    put(EVEN_POINTERS, i);
                    host_pointer = odds[i];
                    put(ODD_POINTERS, i);
                end
            end
            $sformat(name, "images/starts_%0d.hex", p);
            $readmemh(name, starts);
            $readmemh("images/codebook.hex", levels);
            for (i = 0; i < SPMAT_DEPTH && !STREAMED; i = i + 1) begin
                host_row = rows[i];
                put(SPMAT, i);
            end
            for (i = 0; i < STARTS; i = i + 1) begin
                host_data = {PES{starts[i]}};
                put(FIRST_SUMS, i);
            end
            for (i = 0; i < (1 << WEIGHT_BITS); i = i + 1) begin
                host_data = {PES{levels[i]}};
                put(CODEBOOK, i);
            end
        end
        end
    endtask
`else
    genvar g, k;
    generate
        for (g = 0; g < PES; g = g + 1) begin : images
            reg [8*32-1:0] name;
            initial begin
                // What a streamed layer brings is in DRAM.
                if (!STREAMED) begin
                    $sformat(name, "images/spmat_%0d.hex", g);
                    $readmemh(name, dut.pes[g].pe.spmat_read.sram.words);
                end
                $sformat(name, "images/starts_%0d.hex", g);
                $readmemh(name, dut.pes[g].pe.act_rw.starts.words);
                $readmemh("images/codebook.hex", dut.pes[g].pe.arithm.codebook.words);
            end
            if (SCATTER)
                for (k = 0; k < BANKS; k = k + 1) begin : banks
                    reg [8*32-1:0] name;
                    initial begin
                        $sformat(name, "images/ptr_%0d_%0d.hex", k, g);
                        $readmemh(name, dut.pes[g].pe.walk.ptr_ranges.banks[k].bank.words);
                    end
                end
            else if (!STREAMED) begin : banks
                initial begin
                    $sformat(name, "images/ptr_even_%0d.hex", g);
                    $readmemh(name, dut.pes[g].pe.one_column.ptr_read.even_bank.words);
                    $sformat(name, "images/ptr_odd_%0d.hex", g);
                    $readmemh(name, dut.pes[g].pe.one_column.ptr_read.odd_bank.words);
                end
            end
        end
        if (STORED) begin : passes
            initial $readmemh("images/passes.hex", dut.sequenced.pass_control.passes.words);
        end
        if (SCATTER) begin : map
            initial begin
                $readmemh("images/map_rows.hex", dut.walked.map_walk.rows.words);
                $readmemh("images/map_columns.hex", dut.walked.map_walk.columns.words);
            end
        end
    endgenerate
`endif

    task put(input [8:0] memory, input integer word);
        begin
            host_write = memory;
            host_at = word;
            @(negedge clk);
            host_write = 0;
        end
    endtask

    reg [PES*DATA_BITS-1:0] activations [0:PRODUCTS*SCAN_ROWS-1];
    reg [PES*DATA_BITS-1:0] outputs [0:PRODUCTS*RESULTS-1];
    reg [PES-1:0]           is_output [0:RESULTS-1];
    reg [31:0]              expected [0:PRODUCTS*WORDS-1];

    integer counted [0:COUNTS-1];
    integer issued [0:PES-1];
    integer empty [0:PES-1];
    integer starved [0:PES-1];
    integer waited [0:PES-1];
    // Cycles before the pass or batch that runs, and what its PEs did in them; when they last had a slot.
    integer worked [0:PES-1];
    integer last_slot [0:PES-1];
    integer i, p, b, at, differences, scan_end, begun;
    reg     ended = 0;

    // What happens in a cycle is counted at its end, before the registers change.
    always @(posedge clk) if (running) begin
        counted[CYCLES] = counted[CYCLES] + 1;
        counted[BROADCASTS] = counted[BROADCASTS] + broadcast;
        counted[STALLS] = counted[STALLS] + stall;
        counted[DEADS] = counted[DEADS] + dead;
        // The scanner's last cycle is a broadcast, or a dead one.
        if (broadcast || dead) scan_end = counted[CYCLES];
        for (p = 0; p < PES; p = p + 1) begin
            counted[POINTER_READS] = counted[POINTER_READS] + pointer_read[p];
            counted[ROW_READS] = counted[ROW_READS] + row_read[p];
            counted[PADDINGS] = counted[PADDINGS] + padding[p];
            counted[SATURATIONS] = counted[SATURATIONS] + saturated[p];
            if (issue[p]) issued[p] = issued[p] + 1;
            if (bubble[p]) empty[p] = empty[p] + 1;
            if (waits[p]) waited[p] = waited[p] + 1;
            if (issue[p] || bubble[p]) last_slot[p] = counted[CYCLES];
        end
        // Idle before its last slot a PE has starved; one without any starved while the scanner went on.
        if (pass_done) begin
            for (p = 0; p < PES; p = p + 1) begin
                starved[p] = starved[p] + (last_slot[p] > begun ? last_slot[p] : scan_end) - begun
                             - (issued[p] + empty[p] + waited[p] - worked[p]);
                worked[p] = issued[p] + empty[p] + waited[p];
            end
            begun = counted[CYCLES];
        end
    end

    // A cycle later: what the bus does in the last one is counted by then.
    always @(posedge clk) ended <= done;

    task differs(input integer pe, input [8*20-1:0] what, input integer want, input integer got);
        begin
            differences = differences + 1;
            if (differences <= SHOWN)
                $display("DIFFERENT product %0d pe %0d %0s: expected %0d, the RTL has %0d", product, pe, what, want, got);
        end
    endtask

    task count(input integer number, input [8*20-1:0] what);
        begin
            at = product * WORDS + number;
            $display("count %0d %0s %0d %0d", product, what, expected[at], counted[number]);
            if (expected[at] !== counted[number]) differs(-1, what, expected[at], counted[number]);
        end
    endtask

    task compare_counts;
        begin
            for (p = 0; p < PES; p = p + 1) begin
                counted[ENTRIES] = counted[ENTRIES] + issued[p];
                counted[EMPTIES] = counted[EMPTIES] + empty[p];
                counted[LOAD_WAITS] = counted[LOAD_WAITS] + waited[p];
            end
            count(CYCLES, "cycles");
            count(BROADCASTS, "broadcasts");
            count(STALLS, "stall_cycles");
            count(DEADS, "dead_scan_cycles");
            count(POINTER_READS, "ptr_reads");
            count(ROW_READS, "spmat_reads");
            count(ENTRIES, "entries");
            count(PADDINGS, "padding_entries");
            count(EMPTIES, "empty_column");
            count(SATURATIONS, "saturations");
            if (STREAMED) begin
                count(LOAD_WAITS, "load_wait_cycles");
                count(BUS_CYCLES, "bus_cycles");
                count(DRAM_BITS, "dram_bits");
            end
            if (BATCHES > 1) count(REGISTER_CYCLES, "register_cycles");
            for (p = 0; p < PES; p = p + 1) begin
                at = product * WORDS + COUNTS + OF_PE * p;
                if (expected[at] !== issued[p]) differs(p, "issue", expected[at], issued[p]);
                if (expected[at + 1] !== empty[p]) differs(p, "empty_column", expected[at + 1], empty[p]);
                if (expected[at + 2] !== starved[p]) differs(p, "starved", expected[at + 2], starved[p]);
                if (expected[at + 3] !== waited[p]) differs(p, "load", expected[at + 3], waited[p]);
            end
        end
    endtask

    task compare_outputs;
        integer equal;
        begin
            equal = 0;
            for (i = 0; i < RESULTS; i = i + 1) begin
                out_read = 1;
                out_at = i;
                @(negedge clk);
                for (p = 0; p < PES; p = p + 1)
                    if (is_output[i][p]) begin
                        if (outs[p*DATA_BITS +: DATA_BITS] === outputs[product*RESULTS + i][p*DATA_BITS +: DATA_BITS])
                            equal = equal + 1;
                        else differs(p, "output", $signed(outputs[product*RESULTS + i][p*DATA_BITS +: DATA_BITS]),
                                     $signed(outs[p*DATA_BITS +: DATA_BITS]));
                    end
            end
            out_read = 0;
            $display("count %0d outputs %0d %0d", product, OUTPUTS, equal);
        end
    endtask

    // In front of a batch its activations are written into the source registers, and behind it the sums are read: rows of the
    // activation SRAMs, one a cycle in all PEs, beside the cycles of the layer.
    task moves(input integer words);
        counted[REGISTER_CYCLES] = counted[REGISTER_CYCLES] + (words * DATA_BITS + ACT_ROW_BITS - 1) / ACT_ROW_BITS;
    endtask

    task run_batch;
        begin
            resume = batch > 0;
            origin = batch * BATCH_ROWS * PES;
            has_bias = HAS_BIAS && batch == BATCHES - 1;
            last_row = (batch == BATCHES - 1 ? SCAN_ROWS - batch * BATCH_ROWS : BATCH_ROWS) - 1;
            for (i = 0; i <= last_row; i = i + 1) begin
                host_data = activations[product*SCAN_ROWS + batch*BATCH_ROWS + i];
                put(SOURCES, i);
            end
            // The bias is 1 and needs no register of the spec.
            moves(i - has_bias);
            prepare = 1;
            while (!prepared) @(negedge clk);
            prepare = 0;
            start = 1;
            @(negedge clk);
            start = 0;
            // A fault may never end; no layer takes as long as all of it one after the other, twice.
            i = 0;
            while (!ended && i < MOST_CYCLES) begin
                @(negedge clk);
                i = i + 1;
            end
            if (!ended) begin
                $display("DIFFERENT product %0d: not done after %0d cycles", product, MOST_CYCLES);
                $stop;
            end
            counted[BUS_CYCLES] = counted[BUS_CYCLES] + bus_cycles;
            counted[DRAM_BITS] = counted[DRAM_BITS] + dram_bits;
            if (too_early != 0) differs(-1, "taken too early", 0, too_early);
            moves(LAST_SUM + 1);
        end
    endtask

    initial begin
        $readmemh("images/activations.hex", activations);
        $readmemh("expected/outputs.hex", outputs);
        $readmemh("expected/is_output.hex", is_output);
        $readmemh("expected/counts.hex", expected);
        differences = 0;
        repeat (2) @(negedge clk);
        reset = 0;
`ifdef HOST_PORT
        load;
        host_pes = {PES{1'b1}};
`endif
        for (product = 0; product < PRODUCTS; product = product + 1) begin
            for (i = 0; i < COUNTS; i = i + 1) counted[i] = 0;
            for (p = 0; p < PES; p = p + 1) begin
                issued[p] = 0;
                empty[p] = 0;
                starved[p] = 0;
                waited[p] = 0;
                worked[p] = 0;
                last_slot[p] = 0;
            end
            scan_end = 0;
            begun = 0;
            for (batch = 0; batch < BATCHES; batch = batch + 1) run_batch;
            compare_counts;
            compare_outputs;
        end
        if (differences > 0) begin
            $display("FAILED: %0d differences in %0d products", differences, PRODUCTS);
            $stop;
        end
        $display("EQUAL: %0d products", PRODUCTS);
        $finish;
    end
endmodule
