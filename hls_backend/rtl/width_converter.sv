// More, or fewer, bits at once; one width is a multiple of the other. The first bits are the lowest.
//
// It keeps no word of its own: the last narrow word of a wide one passes straight through, and a wide word that goes
// out in pieces stays where it comes from.
module width_converter #(
    parameter int IN_WIDTH  = 8,
    parameter int OUT_WIDTH = 16
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 in_valid,
    output logic                 in_ready,
    input  logic [ IN_WIDTH-1:0] in_data,
    output logic                 out_valid,
    input  logic                 out_ready,
    output logic [OUT_WIDTH-1:0] out_data
);
  localparam int WIDENS = OUT_WIDTH > IN_WIDTH ? 1 : 0;
  localparam int PIECES = WIDENS == 1 ? OUT_WIDTH / IN_WIDTH : IN_WIDTH / OUT_WIDTH;
  localparam int BITS = PIECES > 1 ? $clog2(PIECES) : 1;
  logic [BITS-1:0] piece;
  logic step, last;
  counter #(.STATES(PIECES)) place (.clk, .rst, .step, .value(piece), .last);

  if (PIECES == 1) begin : g_same
    assign {out_valid, in_ready, out_data} = {in_valid, out_ready, in_data};
    assign step = 1'b0;
    logic unused;
    assign unused = last & piece[0];
  end else if (WIDENS == 1) begin : g_wider
    logic [OUT_WIDTH-IN_WIDTH-1:0] first;  // all pieces but the last
    assign in_ready  = ~last | out_ready;
    assign out_valid = in_valid & last;
    assign out_data  = {in_data, first};
    assign step      = in_valid & in_ready;
    if (PIECES == 2) begin : g_one
      always_ff @(posedge clk) if (step) first <= in_data;
    end else begin : g_shift
      always_ff @(posedge clk) if (step) first <= {in_data, first[OUT_WIDTH-IN_WIDTH-1:IN_WIDTH]};
    end
    logic unused;
    assign unused = &piece;
  end else begin : g_narrower
    assign in_ready  = last & out_ready;
    assign out_valid = in_valid;
    assign out_data  = in_data[OUT_WIDTH*piece+:OUT_WIDTH];
    assign step      = in_valid & out_ready;
  end
endmodule
