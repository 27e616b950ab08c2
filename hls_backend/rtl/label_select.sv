// The place of the largest of FOLDS * LANES numbers, the first of equals.
//
// Each word's largest is found in a tree with a register a level; the largest of these is kept as they come.
module label_select #(
    parameter int LANES    = 1,
    parameter int FOLDS    = 10,
    parameter int X_BITS   = 8,
    parameter bit X_SIGNED = 1,
    parameter int OUT_BITS = 8
) (
    input  logic                clk,
    input  logic                rst,
    input  logic                in_valid,
    output logic                in_ready,
    input  logic [LANES*X_BITS-1:0] in_data,
    output logic                out_valid,
    input  logic                out_ready,
    output logic [OUT_BITS-1:0] out_data
);
  localparam int LEVELS = $clog2(LANES);
  localparam int PLACES = 2 ** LEVELS;
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int PLACE_BITS = LEVELS > 0 ? LEVELS : 1;
  logic free, ends;
  assign free = ~(ends & out_valid & ~out_ready);
  assign in_ready = free;

  logic [LEVELS:0] holds;
  assign holds[0] = in_valid;
  for (genvar l = 0; l <= LEVELS; l++) begin : g_level
    localparam int COUNT = PLACES >> l;
    logic [COUNT-1:0] there;  // whether there is such a lane at all
    logic [COUNT*X_BITS-1:0] values;
    logic [COUNT*PLACE_BITS-1:0] places;
    if (l == 0) begin : g_lanes
      for (genvar i = 0; i < COUNT; i++) begin : g_lane
        assign there[i] = i < LANES;
        assign places[i*PLACE_BITS+:PLACE_BITS] = PLACE_BITS'(i);
        if (i < LANES) begin : g_there
          assign values[i*X_BITS+:X_BITS] = in_data[i*X_BITS+:X_BITS];
        end else begin : g_none
          assign values[i*X_BITS+:X_BITS] = '0;
        end
      end
    end else begin : g_later
      always_ff @(posedge clk)
        if (rst) holds[l] <= 1'b0;
        else if (free) holds[l] <= holds[l-1];
      for (genvar i = 0; i < COUNT; i++) begin : g_lane
        logic [X_BITS-1:0] a, b;
        logic second;
        assign a = g_level[l-1].values[2*i*X_BITS+:X_BITS];
        assign b = g_level[l-1].values[(2*i+1)*X_BITS+:X_BITS];
        assign second = g_level[l-1].there[2*i+1] &
            ($signed({X_SIGNED & b[X_BITS-1], b}) > $signed({X_SIGNED & a[X_BITS-1], a}));
        assign there[i] = g_level[l-1].there[2*i];
        always_ff @(posedge clk)
          if (free) begin
            values[i*X_BITS+:X_BITS] <= second ? b : a;
            places[i*PLACE_BITS+:PLACE_BITS] <= second ? g_level[l-1].places[(2*i+1)*PLACE_BITS+:PLACE_BITS] :
                g_level[l-1].places[2*i*PLACE_BITS+:PLACE_BITS];
          end
      end
    end
  end

  // The largest so far, and where it was.
  logic step, first, last, greater;
  logic [FOLD_BITS-1:0] fold;
  logic [X_BITS-1:0] value, largest;
  logic [OUT_BITS-1:0] place, best, winner;
  assign value = g_level[LEVELS].values;
  assign place = OUT_BITS'(fold) * OUT_BITS'(LANES) + (LEVELS > 0 ? OUT_BITS'(g_level[LEVELS].places) : '0);
  assign step = holds[LEVELS] & free;
  assign ends = holds[LEVELS] & last;
  assign first = fold == '0;
  counter #(.STATES(FOLDS)) folds (.clk, .rst, .step, .value(fold), .last);
  assign greater = first |
      ($signed({X_SIGNED & value[X_BITS-1], value}) > $signed({X_SIGNED & largest[X_BITS-1], largest}));
  assign winner = greater ? place : best;
  always_ff @(posedge clk) begin
    if (step & greater) {largest, best} <= {value, place};
    if (step & last) out_data <= winner;
    if (rst) out_valid <= 1'b0;
    else if (step & last) out_valid <= 1'b1;
    else if (out_ready) out_valid <= 1'b0;
  end
  logic unused;
  assign unused = &g_level[LEVELS].there & g_level[LEVELS].places[0];
endmodule
