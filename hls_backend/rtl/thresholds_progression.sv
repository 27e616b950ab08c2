// How many thresholds each number reaches, where these are start + j * step: a division, non-restoring, a pipeline
// stage a bit of the quotient.
//
// A word of the memory holds, for each lane from the lowest bits, the step and the offset start + (2 ** (BITS-1) - 1) *
// step, which is what the first bit compares with.
module thresholds_progression #(
    parameter int LANES     = 1,
    parameter int FOLDS     = 1,
    parameter int STEPS     = 15,  // thresholds
    parameter int BITS      = 4,   // of the count
    parameter int X_BITS    = 8,
    parameter bit X_SIGNED  = 1,
    parameter int SHIFT     = 0,   // bits of the fraction
    parameter int STEP_BITS = 8,   // unsigned
    parameter int R_BITS    = 16,  // two's complement, holds every remainder
    parameter int OUT_BITS  = 4,
    parameter int BASE      = 0,
    parameter bit BLOCK     = 0,
    parameter     THRESHOLDS = "thresholds.mem"
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
  localparam int WORD = STEP_BITS + R_BITS;
  logic [LANES*WORD-1:0] words;
  logic loaded, free, step;
  constants #(.DEPTH(FOLDS), .WIDTH(LANES * WORD), .BLOCK(BLOCK), .FILE(THRESHOLDS)) memory (
      .clk, .rst, .step, .ready(loaded), .data(words)
  );
  logic [BITS:0] holds;
  assign free = ~out_valid | out_ready;
  assign in_ready = loaded & free;
  assign step = in_valid & in_ready;
  assign out_valid = holds[BITS];
  always_ff @(posedge clk)
    if (rst) holds <= '0;
    else if (free) holds <= (BITS + 1)'({holds, step});

  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [X_BITS-1:0] x;
    logic signed [R_BITS-1:0] first;
    assign x = in_data[i*X_BITS+:X_BITS];
    assign first = R_BITS'($signed({X_SIGNED & x[X_BITS-1], x})) <<< SHIFT;
    for (genvar s = 0; s < BITS; s++) begin : g_stage
      logic signed [R_BITS-1:0] remainder;  // not negative: the bit is 1
      logic [STEP_BITS-1:0] size;
      logic [BITS-1:0] bits;  // of the count, so far, without that of this remainder
      if (s == 0) begin : g_first
        always_ff @(posedge clk)
          if (free) begin
            remainder <= first - $signed(words[i*WORD+STEP_BITS+:R_BITS]);
            size      <= words[i*WORD+:STEP_BITS];
          end
        assign bits = '0;
      end else begin : g_later
        logic negative;
        logic signed [R_BITS-1:0] part;
        assign negative = g_stage[s-1].remainder[R_BITS-1];
        assign part = R_BITS'({1'b0, g_stage[s-1].size}) <<< (BITS - 1 - s);
        always_ff @(posedge clk)
          if (free) begin
            remainder <= negative ? g_stage[s-1].remainder + part : g_stage[s-1].remainder - part;
            size      <= g_stage[s-1].size;
            bits      <= BITS'({g_stage[s-1].bits, ~negative});
          end
      end
    end
    logic [BITS-1:0] count;
    logic unused_size;
    assign count = BITS'({g_stage[BITS-1].bits, ~g_stage[BITS-1].remainder[R_BITS-1]});
    assign unused_size = &g_stage[BITS-1].size;
    if (STEPS == 2 ** BITS - 1) begin : g_all
      always_ff @(posedge clk) if (free) out_data[i*OUT_BITS+:OUT_BITS] <= OUT_BITS'(BASE) + OUT_BITS'(count);
    end else begin : g_some
      always_ff @(posedge clk)
        if (free)
          out_data[i*OUT_BITS+:OUT_BITS] <= OUT_BITS'(BASE) +
              OUT_BITS'(count > BITS'(STEPS) ? BITS'(STEPS) : count);
    end
  end
endmodule
