// A constant memory, read with a register behind it; in block RAM or in LUTs.
module rom #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 8,
    parameter bit BLOCK = 0,
    parameter     FILE  = "rom.mem",  // one word a line, hexadecimal
    localparam int BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic             clk,
    input  logic             enable,
    input  logic [ BITS-1:0] address,
    output logic [WIDTH-1:0] data
);
  if (BLOCK) begin : g_block
    (* rom_style = "block" *) logic [WIDTH-1:0] words[0:DEPTH-1];
    initial $readmemh(FILE, words);
    always_ff @(posedge clk) if (enable) data <= words[address];
  end else begin : g_lut
    // Yosys calls "logic" what Vivado calls "distributed".
`ifdef YOSYS
    (* rom_style = "logic" *)
`else
    (* rom_style = "distributed" *)
`endif
    logic [WIDTH-1:0] words[0:DEPTH-1];
    initial $readmemh(FILE, words);
    always_ff @(posedge clk) if (enable) data <= words[address];
  end
endmodule
