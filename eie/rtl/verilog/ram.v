// A memory with one read and one write port; the read is registered, as in block RAM and in SRAM macros.
//
// What `read_at` names in a cycle with `read` stands in `word` from the next cycle on, until the next read. A word that
// is read in the cycle in which it is written comes out as it was before.
module ram #(
    parameter WIDTH = 16,
    parameter DEPTH = 64,
    parameter ADDRESS_BITS = 6
) (
    input  wire                    clk,
    input  wire                    read,
    input  wire [ADDRESS_BITS-1:0] read_at,
    output reg  [WIDTH-1:0]        word,
    input  wire                    write,
    input  wire [ADDRESS_BITS-1:0] write_at,
    input  wire [WIDTH-1:0]        written
);
    reg [WIDTH-1:0] words [0:DEPTH-1];

    always @(posedge clk) begin
        if (read) word <= words[read_at];
        if (write) words[write_at] <= written;
    end
endmodule
