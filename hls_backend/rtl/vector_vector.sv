// A kernel of its own for each channel: PE channels and SIMD kernel positions a cycle, STEPS cycles a channel group.
// What comes has, from the lowest bits, PE channels of the first position, then those of the second.
module vector_vector #(
    parameter int PE           = 1,
    parameter int SIMD         = 1,
    parameter int STEPS        = 1,
    parameter int ROWS         = 1,  // channels / PE
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
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [PE*SIMD*X_BITS-1:0] in_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [   PE*SUM_BITS-1:0] out_data
);
  logic [PE*SIMD*X_BITS-1:0] by_channel;
  for (genvar p = 0; p < PE; p++) begin : g_pe
    for (genvar s = 0; s < SIMD; s++) begin : g_position
      assign by_channel[(p*SIMD+s)*X_BITS+:X_BITS] = in_data[(s*PE+p)*X_BITS+:X_BITS];
    end
  end
  multiply_accumulate #(
      .PE(PE), .SIMD(SIMD), .STEPS(STEPS), .ROWS(ROWS), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .W_BITS(W_BITS),
      .W_SIGNED(W_SIGNED), .W_BIPOLAR(W_BIPOLAR), .PRODUCT_BITS(PRODUCT_BITS), .SUM_BITS(SUM_BITS), .BLOCK(BLOCK),
      .WEIGHTS(WEIGHTS)
  ) sums (
      .clk, .rst, .in_valid, .in_ready, .in_data(by_channel), .out_valid, .out_ready, .out_data
  );
endmodule
