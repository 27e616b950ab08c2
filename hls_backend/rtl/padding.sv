// Zeros around each image. FOLDS words are a pixel.
module padding #(
    parameter int WIDTH   = 8,
    parameter int FOLDS   = 1,
    parameter int ROWS    = 4,  // of the image that comes
    parameter int COLUMNS = 4,
    parameter int TOP     = 1,
    parameter int LEFT    = 1,
    parameter int BOTTOM  = 1,
    parameter int RIGHT   = 1
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
  localparam int PADDED_ROWS = TOP + ROWS + BOTTOM;
  localparam int PADDED_COLUMNS = LEFT + COLUMNS + RIGHT;
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int ROW_BITS = PADDED_ROWS > 1 ? $clog2(PADDED_ROWS) : 1;
  localparam int COLUMN_BITS = PADDED_COLUMNS > 1 ? $clog2(PADDED_COLUMNS) : 1;
  logic step, pixel_ends, row_ends, image_ends, row_inside, column_inside;
  logic [FOLD_BITS-1:0] fold;
  logic [ROW_BITS-1:0] row;
  logic [COLUMN_BITS-1:0] column;

  counter #(.STATES(FOLDS)) folds (.clk, .rst, .step, .value(fold), .last(pixel_ends));
  counter #(.STATES(PADDED_COLUMNS)) columns (
      .clk, .rst, .step(step & pixel_ends), .value(column), .last(row_ends)
  );
  counter #(.STATES(PADDED_ROWS)) rows (
      .clk, .rst, .step(step & pixel_ends & row_ends), .value(row), .last(image_ends)
  );

  // Whether the place is in the image, from its edges, so that a register says it.
  always_ff @(posedge clk)
    if (rst) begin
      row_inside    <= TOP == 0;
      column_inside <= LEFT == 0;
    end else if (step & pixel_ends) begin
      if (row_ends) column_inside <= LEFT == 0;
      else if (int'(column) == LEFT - 1) column_inside <= 1'b1;
      else if (int'(column) == LEFT + COLUMNS - 1) column_inside <= 1'b0;
      if (row_ends) begin
        if (image_ends) row_inside <= TOP == 0;
        else if (int'(row) == TOP - 1) row_inside <= 1'b1;
        else if (int'(row) == TOP + ROWS - 1) row_inside <= 1'b0;
      end
    end

  logic inside_image;
  assign inside_image = row_inside & column_inside;
  assign out_valid = in_valid | ~inside_image;
  assign out_data = in_data & {WIDTH{inside_image}};
  assign in_ready = out_ready & inside_image;
  assign step = out_valid & out_ready;
  logic unused;
  assign unused = &fold;
endmodule
