// The largest of each WINDOW words that follow one another, lane by lane.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module max_pool #(
    parameter int LANES    = 1,
    parameter int WINDOW   = 4,
    parameter int X_BITS   = 4,
    parameter bit X_SIGNED = 0
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    in_valid,
    output logic                    in_ready,
    input  logic [LANES*X_BITS-1:0] in_data,
    output logic                    out_valid,
    input  logic                    out_ready,
    output logic [LANES*X_BITS-1:0] out_data
);
  logic step, last, first;
  assign in_ready = ~out_valid | out_ready;
  assign step = in_valid & in_ready;
  counter #(.STATES(WINDOW)) places (.clk, .rst, .step, .value(), .last);
  always_ff @(posedge clk)
    if (rst) {first, out_valid} <= 2'b10;
    else if (in_ready) begin
      out_valid <= step & last;
      if (step) first <= last;
    end
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [X_BITS-1:0] x, largest;
    logic greater;
    assign x = in_data[i*X_BITS+:X_BITS];
    assign largest = out_data[i*X_BITS+:X_BITS];
    assign greater = $signed({X_SIGNED & x[X_BITS-1], x}) > $signed({X_SIGNED & largest[X_BITS-1], largest});
    always_ff @(posedge clk) if (step & (first | greater)) out_data[i*X_BITS+:X_BITS] <= x;
  end
endmodule
