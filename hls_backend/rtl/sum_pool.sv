// The sum over the PIXELS pixels of an image, channel by channel. FOLDS words are a pixel; sums leave with the last.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module sum_pool #(
    parameter int LANES    = 1,
    parameter int FOLDS    = 1,
    parameter int PIXELS   = 16,
    parameter int X_BITS   = 4,
    parameter bit X_SIGNED = 0,
    parameter int SUM_BITS = 8
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [  LANES*X_BITS-1:0] in_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [LANES*SUM_BITS-1:0] out_data
);
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  logic step, pixel_ends, last, first;
  logic [FOLD_BITS-1:0] fold;
  assign in_ready = ~out_valid | out_ready;
  assign step = in_valid & in_ready;
  counter #(.STATES(FOLDS)) folds (.clk, .rst, .step, .value(fold), .last(pixel_ends));
  counter #(.STATES(PIXELS)) pixels (.clk, .rst, .step(step & pixel_ends), .value(), .last);
  always_ff @(posedge clk)
    if (rst) {first, out_valid} <= 2'b10;
    else if (in_ready) begin
      out_valid <= step & last;
      if (step & pixel_ends) first <= last;
    end

  logic [LANES*SUM_BITS-1:0] so_far, total;
  if (FOLDS > 1) begin : g_memory
    (* ram_style = "distributed" *) logic [LANES*SUM_BITS-1:0] sums[0:FOLDS-1];
    assign so_far = sums[fold];
    always_ff @(posedge clk) if (step) sums[fold] <= total;
  end else begin : g_register
    assign so_far = out_data;
    logic unused;
    assign unused = &fold;
  end
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [X_BITS-1:0] x;
    assign x = in_data[i*X_BITS+:X_BITS];
    assign total[i*SUM_BITS+:SUM_BITS] =
        (first ? '0 : so_far[i*SUM_BITS+:SUM_BITS]) + SUM_BITS'($signed({X_SIGNED & x[X_BITS-1], x}));
  end
  always_ff @(posedge clk) if (step) out_data <= total;
endmodule
