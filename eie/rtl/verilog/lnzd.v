// Leading-non-zero detection: the first of the lanes that still have something to hand out.
//
// The paper builds it as a tree of four-input nodes over the PEs; a loop says the same, and synthesis builds the tree.
module lnzd #(
    parameter LANES = 64,
    parameter LANE_BITS = 6
) (
    input  wire [LANES-1:0]     pending,
    output wire                 some,
    output reg  [LANE_BITS-1:0] lane
);
    integer i;

    assign some = |pending;

    always @* begin
        lane = 0;
        // From the last lane down, so that the lowest one that is set is what stays.
        for (i = LANES - 1; i >= 0; i = i - 1)
            if (pending[i]) lane = i;
    end
endmodule
