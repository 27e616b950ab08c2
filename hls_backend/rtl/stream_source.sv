// For simulation: gives the words of a file, one hexadecimal word a line, with pauses of random length.
module stream_source #(
    parameter int    WIDTH = 8,
    parameter int    PAUSE = 0,            // chance of a pause before each word, of 256
    parameter string FILE  = "inputs.hex"  // in the folder +vectors=, or in this one
) (
    input  logic             clk,
    input  logic             rst,
    output logic             valid,
    input  logic             ready,
    output logic [WIDTH-1:0] data
);
  int file;
  string folder;
  logic [WIDTH-1:0] word;
  initial begin
    if ($value$plusargs("vectors=%s", folder) == 0) folder = ".";
    file = $fopen({folder, "/", FILE}, "r");
    if (file == 0) $fatal(1, "%s/%s cannot be read", folder, FILE);
  end
  always @(posedge clk)
    if (rst) valid <= 1'b0;
    else if (~valid | ready) begin
      valid <= 1'b0;
      if (int'($urandom % 256) >= PAUSE && $fscanf(file, "%h", word) == 1) begin
        valid <= 1'b1;
        data  <= word;
      end
    end
endmodule
