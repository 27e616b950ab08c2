// The sum of TERMS products, STAGES clocks later: a pipelined adder tree.
//
// Small products are tables: one LUT6 a bit for up to six bits of operands, two products and their sum where both
// together have no more. Larger ones are the sum of two such tables, one for each half of the weight. The largest are
// summed from products with two bits of the weight each, with a register between. The tree keeps a register behind the
// products and behind every second level of sums; the last level may be left to the adder that follows.
module dot_product #(
    parameter int TERMS        = 4,
    parameter int X_BITS       = 2,
    parameter bit X_SIGNED     = 0,
    parameter int W_BITS       = 1,
    parameter bit W_SIGNED     = 0,
    parameter bit W_BIPOLAR    = 0,  // one bit: 0 is -1, 1 is +1
    parameter int PRODUCT_BITS = 3,  // two's complement, holds every product
    parameter int SUM_BITS     = 8,  // sums are taken modulo 2 ** SUM_BITS
    localparam bit PAIRED      = TERMS > 1 && X_BITS + W_BITS <= 3,
    localparam bit LARGE       = W_BITS > 2 && X_BITS + W_BITS > 10,
    localparam int LEAVES      = PAIRED ? (TERMS + 1) / 2 : TERMS,
    localparam int LEVELS      = $clog2(LEAVES)
) (
    input  logic                           clk,
    input  logic                           enable,
    input  logic        [TERMS*X_BITS-1:0] x,
    input  logic        [TERMS*W_BITS-1:0] w,
    output logic signed [    SUM_BITS-1:0] sum
);
  localparam int LEAF_BITS = PRODUCT_BITS + (PAIRED ? 1 : 0);

  function automatic int value(input int code, input int bits, input bit is_signed);
    value = is_signed && code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
  endfunction
  // The product of the operands whose bits are `code`: x below, w above.
  function automatic int product(input int code);
    int xs, ws;
    xs = value(code % (2 ** X_BITS), X_BITS, X_SIGNED);
    ws = (code / (2 ** X_BITS)) % (2 ** W_BITS);
    ws = W_BIPOLAR ? 2 * ws - 1 : value(ws, W_BITS, W_SIGNED);
    product = xs * ws;
  endfunction

  // All products, or all sums of two products, by their operands' bits.
  localparam int OPERANDS = X_BITS + W_BITS;
  localparam int CODES = PAIRED ? 2 ** (2 * OPERANDS) : OPERANDS <= 6 ? 2 ** OPERANDS : 1;
  function automatic [CODES*LEAF_BITS-1:0] all_results(input int codes);
    for (int i = 0; i < codes; i++)
      all_results[i*LEAF_BITS+:LEAF_BITS] =
          LEAF_BITS'(product(i % (2 ** OPERANDS)) + (PAIRED ? product(i / (2 ** OPERANDS)) : 0));
  endfunction
  localparam [CODES*LEAF_BITS-1:0] RESULTS = all_results(CODES);

  // All products with the lower LOW bits of w, and with those above, by their operands' bits.
  localparam int LOW = W_BITS / 2;
  localparam bit SPLIT = OPERANDS > 6 && OPERANDS - LOW <= 6 && W_BITS > 2 && !LARGE;
  localparam int PARTS = SPLIT ? 2 ** (OPERANDS - LOW) : 1;
  function automatic [PARTS*LEAF_BITS-1:0] all_parts(input bit high);
    int xs, ws;
    for (int i = 0; i < PARTS; i++) begin
      xs = value(i % (2 ** X_BITS), X_BITS, X_SIGNED);
      ws = i / (2 ** X_BITS);
      all_parts[i*LEAF_BITS+:LEAF_BITS] = LEAF_BITS'(xs * (high ? value(ws, W_BITS - LOW, W_SIGNED) * 2 ** LOW : ws));
    end
  endfunction
  localparam [PARTS*LEAF_BITS-1:0] LOWS = all_parts(0);
  localparam [PARTS*LEAF_BITS-1:0] HIGHS = all_parts(1);

  logic [LEAVES*LEAF_BITS-1:0] leaves;
  if (PAIRED) begin : g_pairs
    logic [2*LEAVES*X_BITS-1:0] even_x;  // an odd last term is paired with 0 times anything
    logic [2*LEAVES*W_BITS-1:0] even_w;
    assign even_x = (2 * LEAVES * X_BITS)'(x);
    assign even_w = (2 * LEAVES * W_BITS)'(w);
    for (genvar i = 0; i < LEAVES; i++) begin : g_pair
      logic [2*OPERANDS-1:0] code;
      assign code = {
        even_w[(2*i+1)*W_BITS+:W_BITS], even_x[(2*i+1)*X_BITS+:X_BITS], even_w[2*i*W_BITS+:W_BITS],
        even_x[2*i*X_BITS+:X_BITS]
      };
      always_ff @(posedge clk) if (enable) leaves[i*LEAF_BITS+:LEAF_BITS] <= RESULTS[code*LEAF_BITS+:LEAF_BITS];
    end
  end else if (OPERANDS <= 6) begin : g_tables
    for (genvar i = 0; i < LEAVES; i++) begin : g_table
      logic [OPERANDS-1:0] code;
      assign code = {w[i*W_BITS+:W_BITS], x[i*X_BITS+:X_BITS]};
      always_ff @(posedge clk) if (enable) leaves[i*LEAF_BITS+:LEAF_BITS] <= RESULTS[code*LEAF_BITS+:LEAF_BITS];
    end
  end else if (SPLIT) begin : g_parts
    for (genvar i = 0; i < LEAVES; i++) begin : g_product
      logic [X_BITS-1:0] xi;
      logic [LOW-1:0] low;
      logic [W_BITS-LOW-1:0] high;
      assign xi = x[i*X_BITS+:X_BITS];
      assign {high, low} = w[i*W_BITS+:W_BITS];
      always_ff @(posedge clk)
        if (enable)
          leaves[i*LEAF_BITS+:LEAF_BITS] <=
              LOWS[{low, xi}*LEAF_BITS+:LEAF_BITS] + HIGHS[{high, xi}*LEAF_BITS+:LEAF_BITS];
    end
  end else if (LARGE) begin : g_digits
    localparam int DIGITS = (W_BITS + 1) / 2;
    localparam int BITS = X_BITS + 3;
    for (genvar i = 0; i < LEAVES; i++) begin : g_product
      logic [X_BITS-1:0] xi;
      logic [2*DIGITS-1:0] wi;
      logic signed [BITS-1:0] xs;
      logic [DIGITS*BITS-1:0] parts;
      logic signed [LEAF_BITS-1:0] total;
      assign xi = x[i*X_BITS+:X_BITS];
      assign wi = (2*DIGITS)'($signed({W_SIGNED & w[(i+1)*W_BITS-1], w[i*W_BITS+:W_BITS]}));
      assign xs = BITS'($signed({X_SIGNED & xi[X_BITS-1], xi}));
      for (genvar d = 0; d < DIGITS; d++) begin : g_digit
        logic signed [BITS-1:0] digit;
        assign digit = BITS'($signed({W_SIGNED & d == DIGITS - 1 & wi[2*d+1], wi[2*d+:2]}));
        always_ff @(posedge clk) if (enable) parts[d*BITS+:BITS] <= xs * digit;
      end
      always_comb begin
        total = '0;
        for (int d = 0; d < DIGITS; d++) total = total + (LEAF_BITS'($signed(parts[d*BITS+:BITS])) <<< 2 * d);
      end
      always_ff @(posedge clk) if (enable) leaves[i*LEAF_BITS+:LEAF_BITS] <= total;
    end
  end else begin : g_multipliers
    for (genvar i = 0; i < LEAVES; i++) begin : g_multiplier
      logic [X_BITS-1:0] xi;
      logic [W_BITS-1:0] wi;
      logic signed [LEAF_BITS-1:0] xs, ws;
      assign xi = x[i*X_BITS+:X_BITS];
      assign wi = w[i*W_BITS+:W_BITS];
      assign xs = LEAF_BITS'($signed({X_SIGNED & xi[X_BITS-1], xi}));
      if (W_BIPOLAR) begin : g_sign
        assign ws = wi[0] ? xs : -xs;
      end else begin : g_number
        assign ws = LEAF_BITS'($signed({W_SIGNED & wi[W_BITS-1], wi}));
      end
      always_ff @(posedge clk)
        if (enable) leaves[i*LEAF_BITS+:LEAF_BITS] <= W_BIPOLAR ? ws : xs * ws;
    end
  end

  // sums[l] of level l: half as many as the level before, a bit wider; an odd last one passes on.
  for (genvar l = 0; l <= LEVELS; l++) begin : g_level
    localparam int COUNT = (LEAVES + 2 ** l - 1) / 2 ** l;
    localparam int BITS = LEAF_BITS + l;
    logic [COUNT*BITS-1:0] sums;
    if (l == 0) begin : g_leaves
      assign sums = leaves;
    end else begin : g_sums
      localparam int BEFORE = (LEAVES + 2 ** (l - 1) - 1) / 2 ** (l - 1);
      logic [COUNT*BITS-1:0] next;
      for (genvar i = 0; i < COUNT; i++) begin : g_sum
        logic signed [BITS-2:0] a;
        assign a = g_level[l-1].sums[2*i*(BITS-1)+:BITS-1];
        if (2 * i + 1 < BEFORE) begin : g_two
          logic signed [BITS-2:0] b;
          assign b = g_level[l-1].sums[(2*i+1)*(BITS-1)+:BITS-1];
          assign next[i*BITS+:BITS] = BITS'(a) + BITS'(b);
        end else begin : g_one
          assign next[i*BITS+:BITS] = BITS'(a);
        end
      end
      if (l % 2 == 0) begin : g_register
        always_ff @(posedge clk) if (enable) sums <= next;
      end else begin : g_wire
        assign sums = next;
      end
    end
  end
  localparam int TOTAL_BITS = LEAF_BITS + LEVELS;
  logic signed [TOTAL_BITS-1:0] total;
  assign total = g_level[LEVELS].sums;
  if (TOTAL_BITS <= SUM_BITS) begin : g_extend
    assign sum = SUM_BITS'(total);
  end else begin : g_cut
    assign sum = total[SUM_BITS-1:0];
    logic unused;
    assign unused = &total;
  end
endmodule
