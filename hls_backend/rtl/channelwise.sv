// A constant for each channel, added or multiplied; constants of FOLDS words come round.
module channelwise #(
    parameter int LANES    = 1,
    parameter int FOLDS    = 1,
    parameter bit MULTIPLY = 0,
    parameter int X_BITS   = 8,
    parameter bit X_SIGNED = 1,
    parameter int C_BITS   = 8,   // two's complement
    parameter int OUT_BITS = 9,   // results are taken modulo 2 ** OUT_BITS
    parameter bit BLOCK    = 0,
    parameter     CONSTANTS = "constants.mem"
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [  LANES*X_BITS-1:0] in_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [LANES*OUT_BITS-1:0] out_data
);
  logic [LANES*C_BITS-1:0] values;
  logic loaded, free, step;
  constants #(.DEPTH(FOLDS), .WIDTH(LANES * C_BITS), .BLOCK(BLOCK), .FILE(CONSTANTS)) memory (
      .clk, .rst, .step, .ready(loaded), .data(values)
  );
  assign free = ~out_valid | out_ready;
  assign in_ready = loaded & free;
  assign step = in_valid & in_ready;
  always_ff @(posedge clk)
    if (rst) out_valid <= 1'b0;
    else if (free) out_valid <= step;

  localparam int WIDE = OUT_BITS + X_BITS + C_BITS;
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [X_BITS-1:0] bits;
    logic signed [WIDE-1:0] x, c, result;
    assign bits = in_data[i*X_BITS+:X_BITS];
    assign x = WIDE'($signed({X_SIGNED & bits[X_BITS-1], bits}));
    assign c = WIDE'($signed(values[i*C_BITS+:C_BITS]));
    assign result = MULTIPLY ? x * c : x + c;
    always_ff @(posedge clk) if (free) out_data[i*OUT_BITS+:OUT_BITS] <= result[OUT_BITS-1:0];
    logic unused;
    assign unused = &result;
  end
endmodule
