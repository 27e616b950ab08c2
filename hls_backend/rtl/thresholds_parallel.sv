// How many thresholds each number reaches, compared with all of them at once; thresholds of FOLDS words come round,
// a word holds, from the lowest bits, the STEPS thresholds of the first lane, then those of the second.
module thresholds_parallel #(
    parameter int LANES     = 1,
    parameter int FOLDS     = 1,
    parameter int STEPS     = 3,
    parameter int X_BITS    = 8,
    parameter bit X_SIGNED  = 1,
    parameter int T_BITS    = 9,   // two's complement, holds every x and every threshold
    parameter int OUT_BITS  = 2,
    parameter int BASE      = 0,   // the result where no threshold is reached
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
  localparam int COUNT_BITS = $clog2(STEPS + 1);
  localparam bit SPLIT = STEPS > 1;  // a register between comparisons and count
  logic [LANES*STEPS*T_BITS-1:0] thresholds;
  logic [LANES*STEPS-1:0] reached, reached_before;
  logic loaded, free, step;
  constants #(.DEPTH(FOLDS), .WIDTH(LANES * STEPS * T_BITS), .BLOCK(BLOCK), .FILE(THRESHOLDS)) memory (
      .clk, .rst, .step, .ready(loaded), .data(thresholds)
  );
  assign free = ~out_valid | out_ready;
  assign in_ready = loaded & free;
  assign step = in_valid & in_ready;

  if (SPLIT) begin : g_split
    logic compared;
    always_ff @(posedge clk)
      if (rst) {compared, out_valid} <= 2'b00;
      else if (free) {compared, out_valid} <= {step, compared};
    always_ff @(posedge clk) if (free) reached_before <= reached;
  end else begin : g_at_once
    always_ff @(posedge clk)
      if (rst) out_valid <= 1'b0;
      else if (free) out_valid <= step;
    assign reached_before = reached;
  end

  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [X_BITS-1:0] x;
    assign x = in_data[i*X_BITS+:X_BITS];
    for (genvar t = 0; t < STEPS; t++) begin : g_threshold
      assign reached[i*STEPS+t] =
          T_BITS'($signed({X_SIGNED & x[X_BITS-1], x})) >= $signed(thresholds[(i*STEPS+t)*T_BITS+:T_BITS]);
    end
    logic [COUNT_BITS-1:0] count;
    always_comb begin
      count = '0;
      for (int t = 0; t < STEPS; t++) count = count + COUNT_BITS'(reached_before[i*STEPS+t]);
    end
    always_ff @(posedge clk) if (free) out_data[i*OUT_BITS+:OUT_BITS] <= OUT_BITS'(BASE) + OUT_BITS'(count);
  end
endmodule
