// Counts the steps 0 .. STATES - 1 over and over; `last` while it stands at STATES - 1. A power of two comes round by
// itself.
module counter #(
    parameter int STATES = 2,
    localparam int BITS = STATES > 1 ? $clog2(STATES) : 1
) (
    input  logic            clk,
    input  logic            rst,
    input  logic            step,
    output logic [BITS-1:0] value,
    output logic            last
);
  if (STATES > 1) begin : g_count
    assign last = value == BITS'(STATES - 1);
    always_ff @(posedge clk)
      if (rst) value <= '0;
      else if (step) value <= last & STATES != 2 ** BITS ? '0 : value + 1'b1;
  end else begin : g_constant
    assign last  = 1'b1;
    assign value = '0;
    logic unused;
    assign unused = &{clk, rst, step};
  end
endmodule
