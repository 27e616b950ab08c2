// Gives each vector of WORDS words TIMES times. It holds two vectors, so that one comes while the other is given;
// words of a vector can be given as soon as they have come. Ready follows from registers alone.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module replay #(
    parameter int WIDTH = 8,
    parameter int WORDS = 4,
    parameter int TIMES = 2
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
  localparam int BITS = WORDS > 1 ? $clog2(WORDS) : 1;
  logic push, read, free, there, write_last, read_last, repeats_last, write_half, read_half, done, came;
  logic [BITS-1:0] write_word, read_word;
  logic [1:0] whole;  // which half holds a vector from first word to last

  assign push = in_valid & in_ready;
  assign came = push & write_last;
  assign done = read & read_last & repeats_last;
  counter #(.STATES(WORDS)) write_place (.clk, .rst, .step(push), .value(write_word), .last(write_last));
  counter #(.STATES(WORDS)) read_place (.clk, .rst, .step(read), .value(read_word), .last(read_last));
  counter #(.STATES(TIMES)) repeats (.clk, .rst, .step(read & read_last), .value(), .last(repeats_last));
  counter #(.STATES(2)) write_halves (.clk, .rst, .step(came), .value(write_half), .last());
  counter #(.STATES(2)) read_halves (.clk, .rst, .step(done), .value(read_half), .last());

  always_ff @(posedge clk)
    if (rst) whole <= '0;
    else begin
      if (came) whole[write_half] <= 1'b1;
      if (done) whole[read_half] <= 1'b0;  // never the half that a vector is coming into
    end
  assign in_ready = ~whole[write_half];
  assign there = whole[read_half] | (write_half == read_half & write_word > read_word);
  assign free = ~out_valid | out_ready;
  assign read = there & free;
  (* ram_style = "distributed", no_rw_check *) logic [WIDTH-1:0] memory[0:2**(BITS+1)-1];
  always_ff @(posedge clk) begin
    if (push) memory[{write_half, write_word}] <= in_data;
    if (free) out_data <= memory[{read_half, read_word}];
    if (rst) out_valid <= 1'b0;
    else if (free) out_valid <= there;
  end
endmodule
