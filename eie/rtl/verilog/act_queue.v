// Activation queue of one PE: a ring of SLOTS words of which one always stays free, so SLOTS - 1 are usable.
//
// `full` is what the registers said when the cycle began: a slot that is freed in this cycle can be filled in the next.
// `head` is a registered read as well: the word that will be first in the next cycle is fetched in this one, and a word
// that comes into an empty ring goes straight into that register.
module act_queue #(
    parameter SLOTS = 8,
    parameter SLOT_BITS = 3,
    parameter WIDTH = 32
) (
    input  wire             clk,
    input  wire             reset,
    input  wire             push,
    input  wire [WIDTH-1:0] pushed,
    input  wire             pop,
    output wire             full,
    output wire             empty,
    output reg  [WIDTH-1:0] head
);
    localparam [SLOT_BITS-1:0] LAST = SLOTS - 1;

    reg [WIDTH-1:0]     ring [0:SLOTS-1];
    reg [SLOT_BITS-1:0] first, behind;

    // SLOTS need not be a power of two: both pointers wrap by hand.
    wire [SLOT_BITS-1:0] after_first = first == LAST ? {SLOT_BITS{1'b0}} : first + 1'b1;
    wire [SLOT_BITS-1:0] after_behind = behind == LAST ? {SLOT_BITS{1'b0}} : behind + 1'b1;
    wire [SLOT_BITS-1:0] next_first = pop ? after_first : first;

    assign empty = first == behind;
    assign full = after_behind == first;

    always @(posedge clk) begin
        if (reset) begin
            first <= 0;
            behind <= 0;
        end else begin
            first <= next_first;
            if (push) behind <= after_behind;
        end
        if (push) ring[behind] <= pushed;
        head <= push && behind == next_first ? pushed : ring[next_first];
    end
endmodule
