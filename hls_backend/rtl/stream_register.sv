// Two words of room that cut the paths of valid, data and ready.
module stream_register #(
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
  logic [WIDTH-1:0] waiting;  // the word that came while the output could not move on
  always_ff @(posedge clk) begin
    if (in_ready) waiting <= in_data;
    if (~out_valid | out_ready) out_data <= in_ready ? in_data : waiting;
    if (rst) begin
      in_ready  <= 1'b1;
      out_valid <= 1'b0;
    end else if (~out_valid | out_ready) begin
      out_valid <= in_valid | ~in_ready;
      in_ready  <= 1'b1;
    end else if (in_valid) in_ready <= 1'b0;
  end
endmodule
