// Words that come round in a fixed order: `data` is the first, and at each step the next of DEPTH.
//
// The word is read ahead of its use, so that what comes in meets it in the same cycle, without a register of its own;
// two words ahead where they lie in block RAM, which is slow and gets a register behind it.
module constants #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 8,
    parameter bit BLOCK = 0,
    parameter     FILE  = "constants.mem"
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             step,    // only while ready
    output logic             ready,   // from the second cycle after reset on, or the third
    output logic [WIDTH-1:0] data
);
  localparam int BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  logic [BITS-1:0] address;
  logic fetch, last;
  assign fetch = step | ~ready;
  counter #(.STATES(DEPTH)) place (.clk, .rst, .step(fetch), .value(address), .last);
  logic [WIDTH-1:0] word;
  rom #(.DEPTH(DEPTH), .WIDTH(WIDTH), .BLOCK(BLOCK), .FILE(FILE)) memory (
      .clk, .enable(fetch), .address, .data(word)
  );
  if (BLOCK) begin : g_behind
    logic read;  // whether `word` is one
    always_ff @(posedge clk) begin
      {ready, read} <= rst ? 2'b00 : {read, 1'b1};
      if (fetch) data <= word;
    end
  end else begin : g_plain
    always_ff @(posedge clk) ready <= ~rst;
    assign data = word;
  end
  logic unused;
  assign unused = last;
endmodule
