// Room for DEPTH words, in LUTs or in block RAM. Ready comes from a register.
module stream_fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 4,
    parameter bit BLOCK = 0
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
  localparam int BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int COUNT_BITS = $clog2(DEPTH + 1);

  logic push, pop, read, write_last, read_last;
  logic [BITS-1:0] write_address, read_address;
  logic [COUNT_BITS-1:0] count;

  assign push = in_valid & in_ready;
  assign pop  = out_valid & out_ready;
  counter #(.STATES(DEPTH)) write_place (.clk, .rst, .step(push), .value(write_address), .last(write_last));
  counter #(.STATES(DEPTH)) read_place (.clk, .rst, .step(read), .value(read_address), .last(read_last));

`ifdef SIMULATION
  // A simulation may have it hold fewer words: +<its place>=N, e.g. +TOP.testbench.dut.u_skip_fifo=20.
  int room;
  initial if ($value$plusargs({$sformatf("%m"), "=%d"}, room) == 0) room = DEPTH;
`else
  localparam int room = DEPTH;
`endif
  // Whether one comes or goes is known late in the cycle, so it meets no addition.
  always_ff @(posedge clk)
    if (rst) begin
      count    <= '0;
      in_ready <= 1'b0;
    end else begin
      if (push ^ pop) count <= count + COUNT_BITS'(pop ? -1 : 1);
      in_ready <= pop | count != COUNT_BITS'(room) & ~(push & count == COUNT_BITS'(room - 1));
    end

  if (BLOCK) begin : g_block
    (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] memory[0:DEPTH-1];
    // Two words are read ahead, one into a register, for block RAM is slow; they count among DEPTH.
    logic [WIDTH-1:0] word;
    logic holds, move;
    assign move = holds & (~out_valid | out_ready);
    assign read = (count != COUNT_BITS'(out_valid) + COUNT_BITS'(holds)) & (~holds | move);
    always_ff @(posedge clk) begin
      if (push) memory[write_address] <= in_data;
      if (read) word <= memory[read_address];
      if (move) out_data <= word;
      if (rst) {holds, out_valid} <= 2'b00;
      else begin
        if (~holds | move) holds <= read;
        if (~out_valid | out_ready) out_valid <= holds;
      end
    end
  end else if (DEPTH > 32) begin : g_deep
    // Many LUTs and a multiplexer behind them: one word is read ahead; it counts as one of DEPTH.
    (* ram_style = "distributed", no_rw_check *) logic [WIDTH-1:0] memory[0:DEPTH-1];
    assign read = (count != COUNT_BITS'(out_valid)) & (~out_valid | out_ready);
    always_ff @(posedge clk) begin
      if (push) memory[write_address] <= in_data;
      if (read) out_data <= memory[read_address];
      if (rst) out_valid <= 1'b0;
      else if (~out_valid | out_ready) out_valid <= read;
    end
  end else begin : g_lut
    (* ram_style = "distributed", no_rw_check *) logic [WIDTH-1:0] memory[0:DEPTH-1];
    assign read = pop;
    assign out_valid = count != '0;
    assign out_data = memory[read_address];
    always_ff @(posedge clk) if (push) memory[write_address] <= in_data;
  end

  logic unused;
  assign unused = write_last & read_last;

`ifdef SIMULATION
  int peak;  // the most words that were ever in it
  always_ff @(posedge clk) if (rst) peak <= 0; else if (int'(count) + 1 > peak & push & ~pop) peak <= int'(count) + 1;
  final $display("fifo %m %0d %0d", peak, DEPTH);
`endif
endmodule
