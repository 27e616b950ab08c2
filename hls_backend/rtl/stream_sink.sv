// For simulation: compares what comes with the words of a file, takes it with pauses of random length, and prints when
// each frame's last word came, in cycles since reset.
module stream_sink #(
    parameter int    WIDTH = 8,
    parameter int    FRAME = 1,               // words a frame
    parameter int    PAUSE = 0,               // chance of a pause before each word, of 256
    parameter string FILE  = "expected.hex",  // in the folder +vectors=, or in this one
    parameter string NAME  = "out"            // in what is printed
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             valid,
    output logic             ready,
    input  logic [WIDTH-1:0] data,
    output logic             done             // all words of the file have come, or none for a long time
);
  int file, cycle, words, errors, idle, patience;
  string folder;
  logic [WIDTH-1:0] expected;
  initial begin
    if ($value$plusargs("vectors=%s", folder) == 0) folder = ".";
    if ($value$plusargs("patience=%d", patience) == 0) patience = 1000000;
    file = $fopen({folder, "/", FILE}, "r");
    if (file == 0) $fatal(1, "%s/%s cannot be read", folder, FILE);
    if ($fscanf(file, "%h", expected) != 1) $fatal(1, "%s/%s is empty", folder, FILE);
  end
  // What happens in a cycle depends on what happened before in the same one: hence blocking assignments.
  always @(posedge clk)
    if (rst) begin
      {cycle, words, errors, idle} = '0;
      {ready, done} <= 2'b00;
    end else begin
      idle = idle + 1;
      if (valid & ready & ~done) begin
        idle = 0;
        if (words == 0) $display("first %s %0d", NAME, cycle);
        if (data !== expected) begin
          if (errors == 0) $display("differs %s %0d %h %h", NAME, words, data, expected);
          errors = errors + 1;
        end
        words = words + 1;
        if (words % FRAME == 0) $display("frame %s %0d %0d", NAME, words / FRAME - 1, cycle);
        if ($fscanf(file, "%h", expected) != 1) begin
          done <= 1'b1;
          $display("done %s %0d %0d", NAME, words, errors);
        end
      end else if (idle > patience & ~done) begin
        done <= 1'b1;
        $display("stuck %s %0d %0d", NAME, words, cycle);
      end
      if (~ready | valid) ready <= int'($urandom % 256) >= PAUSE;
      cycle = cycle + 1;
    end
endmodule
