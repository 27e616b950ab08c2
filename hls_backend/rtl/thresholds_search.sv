// How many thresholds each number reaches, found by halving: a pipeline stage a bit of the count.
//
// Stage s compares with the one threshold in the middle of what the bits before leave open, from a memory of its own
// for each lane; 2 ** BITS - 1 thresholds, with some that nothing reaches behind the last one.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module thresholds_search #(
    parameter int LANES     = 1,
    parameter int FOLDS     = 1,
    parameter int BITS      = 4,   // of the count
    parameter int X_BITS    = 8,
    parameter bit X_SIGNED  = 1,
    parameter int T_BITS    = 9,   // two's complement, holds every x and every threshold
    parameter int OUT_BITS  = 4,
    parameter int BASE      = 0,
    parameter     THRESHOLDS = "thresholds",  // files THRESHOLDS_<stage>_<lane, four digits>.mem: fold, then bits before
    localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      in_valid,
    output logic                      in_ready,
    input  logic [  LANES*X_BITS-1:0] in_data,
    output logic                      out_valid,
    input  logic                      out_ready,
    output logic [LANES*OUT_BITS-1:0] out_data
);
  // A stage takes two clocks: one reads its threshold, one compares. Block RAM is slow and gets a clock more.
  function automatic bit in_block(input int stage);
    in_block = FOLDS * 2 ** stage > 64 && FOLDS * 2 ** stage * T_BITS > 2048;
  endfunction
  function automatic int clocks(input int stages);  // of the first so many
    clocks = 0;
    for (int s = 0; s < stages; s++) clocks = clocks + (in_block(s) ? 3 : 2);
  endfunction
  localparam int CLOCKS = clocks(BITS);
  logic free;
  logic [CLOCKS-1:0] holds;
  assign free = ~out_valid | out_ready;
  assign in_ready = free;
  assign out_valid = holds[CLOCKS-1];
  always_ff @(posedge clk)
    if (rst) holds <= '0;
    else if (free) holds <= CLOCKS'({holds, in_valid});

  logic [FOLD_BITS-1:0] fold;
  counter #(.STATES(FOLDS)) folds (.clk, .rst, .step(in_valid & in_ready), .value(fold), .last());

  logic [(BITS+1)*FOLD_BITS-1:0] fold_at;
  assign fold_at[FOLD_BITS-1:0] = fold;
  for (genvar s = 0; s < BITS; s++) begin : g_fold
    localparam int DELAY = (in_block(s) ? 3 : 2) * FOLD_BITS;
    logic [DELAY-1:0] line;
    always_ff @(posedge clk) if (free) line <= DELAY'({line, fold_at[s*FOLD_BITS+:FOLD_BITS]});
    assign fold_at[(s+1)*FOLD_BITS+:FOLD_BITS] = line[DELAY-1-:FOLD_BITS];
  end
  logic unused;
  assign unused = &fold_at[BITS*FOLD_BITS+:FOLD_BITS];

  for (genvar i = 0; i < LANES; i++) begin : g_lane
    for (genvar s = 0; s < BITS; s++) begin : g_stage
      localparam int DEPTH = FOLDS * 2 ** s;
      localparam int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
      logic [X_BITS-1:0] x, x_next;
      logic [T_BITS-1:0] word, threshold;
      logic [ADDRESS_BITS-1:0] address;
      logic reached;
      logic [BITS-1:0] bits, bits_read, bits_next;  // of the count, so far
      if (s == 0) begin : g_first
        assign x = in_data[i*X_BITS+:X_BITS];
        assign bits = '0;
        assign address = ADDRESS_BITS'(fold_at[FOLD_BITS-1:0]);
      end else begin : g_later
        assign x = g_stage[s-1].x_next;
        assign bits = g_stage[s-1].bits_next;
        assign address = ADDRESS_BITS'({fold_at[s*FOLD_BITS+:FOLD_BITS], bits[s-1:0]});
      end
      logic [X_BITS-1:0] x_read;
      rom #(
          .DEPTH(DEPTH), .WIDTH(T_BITS), .BLOCK(in_block(s)),
          .FILE({THRESHOLDS, "_", 8'd48 + 8'(s), "_", 8'd48 + 8'(i / 1000), 8'd48 + 8'((i / 100) % 10),
                 8'd48 + 8'((i / 10) % 10), 8'd48 + 8'(i % 10), ".mem"})
      ) memory (.clk, .enable(free), .address, .data(word));
      assign reached = T_BITS'($signed({X_SIGNED & x_read[X_BITS-1], x_read})) >= $signed(threshold);
      if (in_block(s)) begin : g_block
        logic [X_BITS-1:0] x_word;
        logic [BITS-1:0] bits_word;
        always_ff @(posedge clk)
          if (free) begin
            {x_word, bits_word} <= {x, bits};
            {threshold, x_read, bits_read} <= {word, x_word, bits_word};
          end
      end else begin : g_lut
        assign threshold = word;
        always_ff @(posedge clk) if (free) {x_read, bits_read} <= {x, bits};
      end
      always_ff @(posedge clk)
        if (free) begin
          x_next    <= x_read;
          bits_next <= BITS'({bits_read, reached});
        end
    end
    assign out_data[i*OUT_BITS+:OUT_BITS] = OUT_BITS'(BASE) + OUT_BITS'(g_stage[BITS-1].bits_next);
    logic unused_x;
    assign unused_x = &g_stage[BITS-1].x_next;
  end
endmodule
