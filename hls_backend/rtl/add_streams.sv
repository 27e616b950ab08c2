// A join: the sum of two streams, LANES numbers at once.
module add_streams #(
    parameter int LANES    = 1,
    parameter int A_BITS   = 4,
    parameter bit A_SIGNED = 1,
    parameter int B_BITS   = 4,
    parameter bit B_SIGNED = 1,
    parameter int OUT_BITS = 5   // holds every sum
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      a_valid,
    output logic                      a_ready,
    input  logic [  LANES*A_BITS-1:0] a_data,
    input  logic                      b_valid,
    output logic                      b_ready,
    input  logic [  LANES*B_BITS-1:0] b_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [LANES*OUT_BITS-1:0] out_data
);
  logic both, free;
  assign free = ~out_valid | out_ready;
  assign both = a_valid & b_valid;
  assign a_ready = b_valid & free;
  assign b_ready = a_valid & free;
  always_ff @(posedge clk)
    if (rst) out_valid <= 1'b0;
    else if (free) out_valid <= both;

  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [A_BITS-1:0] a;
    logic [B_BITS-1:0] b;
    logic signed [OUT_BITS:0] sum;  // one bit more, so that unsigned numbers are positive
    assign a = a_data[A_BITS*i+:A_BITS];
    assign b = b_data[B_BITS*i+:B_BITS];
    assign sum = (OUT_BITS + 1)'($signed({A_SIGNED & a[A_BITS-1], a})) +
        (OUT_BITS + 1)'($signed({B_SIGNED & b[B_BITS-1], b}));
    always_ff @(posedge clk) if (free) out_data[OUT_BITS*i+:OUT_BITS] <= sum[OUT_BITS-1:0];
    logic unused;
    assign unused = sum[OUT_BITS];
  end
endmodule
