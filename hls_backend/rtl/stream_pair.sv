// Two words of room in LUTs. Valid and ready come from registers, data do not.
module stream_pair #(
    parameter int WIDTH = 8
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);
  (* ram_style = "distributed", no_rw_check *) logic [WIDTH-1:0] memory[0:1];
  logic push, pop, write_place, read_place;
  assign push = in_valid & in_ready;
  assign pop = out_valid & out_ready;
  assign out_data = memory[read_place];
  always_ff @(posedge clk) begin
    if (push) memory[write_place] <= in_data;
    if (rst) begin
      {write_place, read_place, in_ready, out_valid} <= 4'b0010;
    end else begin
      write_place <= write_place ^ push;
      read_place  <= read_place ^ pop;
      if (push & ~pop) {in_ready, out_valid} <= {~out_valid, 1'b1};  // not ready with both words
      if (pop & ~push) {in_ready, out_valid} <= {1'b1, ~in_ready};
    end
  end
endmodule
