// A matrix times each vector that comes: ROWS * PE results from STEPS * SIMD numbers, in ROWS * STEPS cycles.
module matrix_vector #(
    parameter int PE           = 1,
    parameter int SIMD         = 1,
    parameter int STEPS        = 1,
    parameter int ROWS         = 1,
    parameter int X_BITS       = 2,
    parameter bit X_SIGNED     = 0,
    parameter int W_BITS       = 1,
    parameter bit W_SIGNED     = 0,
    parameter bit W_BIPOLAR    = 0,
    parameter int PRODUCT_BITS = 3,
    parameter int SUM_BITS     = 8,
    parameter bit BLOCK        = 0,
    parameter     WEIGHTS      = "weights.mem"
) (
    input  logic                   clk,
    input  logic                   rst,
    input  logic                   in_valid,
    output logic                   in_ready,
    input  logic [SIMD*X_BITS-1:0] in_data,
    output logic                   out_valid,
    input  logic                   out_ready,
    output logic [PE*SUM_BITS-1:0] out_data
);
  logic x_valid, x_ready;
  logic [SIMD*X_BITS-1:0] x;
  if (ROWS > 1) begin : g_replay
    replay #(.WIDTH(SIMD * X_BITS), .WORDS(STEPS), .TIMES(ROWS)) vectors (
        .clk, .rst, .in_valid, .in_ready, .in_data, .out_valid(x_valid), .out_ready(x_ready), .out_data(x)
    );
  end else begin : g_once
    assign {x_valid, in_ready, x} = {in_valid, x_ready, in_data};
  end
  multiply_accumulate #(
      .PE(PE), .SIMD(SIMD), .STEPS(STEPS), .ROWS(ROWS), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .W_BITS(W_BITS),
      .W_SIGNED(W_SIGNED), .W_BIPOLAR(W_BIPOLAR), .PRODUCT_BITS(PRODUCT_BITS), .SUM_BITS(SUM_BITS), .BLOCK(BLOCK),
      .WEIGHTS(WEIGHTS)
  ) sums (
      .clk, .rst, .in_valid(x_valid), .in_ready(x_ready), .in_data({PE{x}}), .out_valid, .out_ready, .out_data
  );
endmodule
