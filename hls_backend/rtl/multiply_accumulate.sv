// PE sums of products, SIMD products each a cycle, accumulated over STEPS cycles.
//
// Weights lie in a constant memory of ROWS * STEPS words and come round with what comes in; a word holds, from the
// lowest bits, SIMD weights of the first PE, then those of the second. Finished sums wait in two words of room, so that
// what stops the pipeline comes from registers here: many follow it.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module multiply_accumulate #(
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
    parameter bit BLOCK        = 0,             // weights in block RAM
    parameter     WEIGHTS      = "weights.mem"
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [PE*SIMD*X_BITS-1:0] in_data,   // SIMD numbers for each PE
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [   PE*SUM_BITS-1:0] out_data
);
  // As in dot_product: registers behind the products, in large ones, and behind every second level of sums.
  localparam int LEAVES = SIMD > 1 && X_BITS + W_BITS <= 3 ? (SIMD + 1) / 2 : SIMD;
  localparam int STAGES = 1 + (W_BITS > 2 && X_BITS + W_BITS > 10 ? 1 : 0) + $clog2(LEAVES) / 2;

  logic [PE*SIMD*W_BITS-1:0] weights;
  logic advance, step, loaded, last, ends, room;
  constants #(.DEPTH(ROWS * STEPS), .WIDTH(PE * SIMD * W_BITS), .BLOCK(BLOCK), .FILE(WEIGHTS)) memory (
      .clk, .rst, .step, .ready(loaded), .data(weights)
  );
  counter #(.STATES(STEPS)) steps (.clk, .rst, .step, .value(), .last);
  assign in_ready = loaded & advance;
  assign step = in_valid & in_ready;

  // What each stage of the sums holds: anything, and the last of a row.
  logic [STAGES-1:0] holds, holds_last;
  always_ff @(posedge clk)
    if (rst) begin
      holds <= '0;
      holds_last <= '0;
    end else if (advance) begin
      holds <= STAGES'({holds, step});
      holds_last <= STAGES'({holds_last, step & last});
    end
  assign ends = holds_last[STAGES-1];
  assign advance = room | ~ends;

  logic [PE*SUM_BITS-1:0] totals;
  stream_pair #(.WIDTH(PE * SUM_BITS)) finished (
      .clk, .rst, .in_valid(ends), .in_ready(room), .in_data(totals), .out_valid, .out_ready, .out_data
  );
  for (genvar p = 0; p < PE; p++) begin : g_pe
    logic signed [SUM_BITS-1:0] sum, total;
    dot_product #(
        .TERMS(SIMD), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .W_BITS(W_BITS), .W_SIGNED(W_SIGNED),
        .W_BIPOLAR(W_BIPOLAR), .PRODUCT_BITS(PRODUCT_BITS), .SUM_BITS(SUM_BITS)
    ) products (
        .clk, .enable(advance), .x(in_data[p*SIMD*X_BITS+:SIMD*X_BITS]),
        .w(weights[p*SIMD*W_BITS+:SIMD*W_BITS]), .sum
    );
    if (STEPS > 1) begin : g_accumulator
      logic signed [SUM_BITS-1:0] accumulator;
      assign total = accumulator + sum;
      always_ff @(posedge clk)
        if (rst | (advance & ends)) accumulator <= '0;
        else if (advance & holds[STAGES-1]) accumulator <= total;
    end else begin : g_sum
      assign total = sum;
    end
    assign totals[p*SUM_BITS+:SUM_BITS] = total;
  end
  logic unused;
  assign unused = holds[STAGES-1];
endmodule
