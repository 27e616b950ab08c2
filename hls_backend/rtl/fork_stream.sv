// One stream becomes COPIES of it. A word goes on when every copy has been taken; none waits for another.
module fork_stream #(
    parameter int WIDTH  = 8,
    parameter int COPIES = 2
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    in_valid,
    output logic                    in_ready,
    input  logic [       WIDTH-1:0] in_data,
    output logic [      COPIES-1:0] out_valid,
    input  logic [      COPIES-1:0] out_ready,
    output logic [COPIES*WIDTH-1:0] out_data
);
  logic [COPIES-1:0] taken;  // which copies of this word are gone
  assign out_valid = {COPIES{in_valid}} & ~taken;
  assign out_data  = {COPIES{in_data}};
  assign in_ready  = &(taken | out_ready);
  always_ff @(posedge clk)
    if (rst) taken <= '0;
    else if (in_valid) taken <= in_ready ? '0 : taken | out_ready;
endmodule
