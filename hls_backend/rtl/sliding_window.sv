// The windows of an image, row by row. FOLDS words are a pixel.
//
// A window's words come kernel row by kernel row, column by column, fold by fold; for a depthwise consumer, fold by
// fold, and for each fold kernel row by kernel row, column by column. A window starts as soon as its last pixel has
// come. Words lie in a ring; a window, once read, frees those that no later one needs. The ring has room for a window
// and for the furthest step from one to the next, which is that into the next image, so that writing never waits
// where the consumer keeps up; and for the word that came last, which is counted a cycle late, for speed. Block RAM is
// slow: a ring in it has a register behind it, which holds a word of its own.
// Of some counters nobody asks for the place, or for the end.
// verilator lint_off PINCONNECTEMPTY
module sliding_window #(
    parameter int WIDTH         = 8,
    parameter int FOLDS         = 1,
    parameter int ROWS          = 4,
    parameter int COLUMNS       = 4,
    parameter int KERNEL_ROWS   = 3,
    parameter int KERNEL_COLUMNS = 3,
    parameter int STRIDE_ROWS   = 1,
    parameter int STRIDE_COLUMNS = 1,
    parameter bit DEPTHWISE     = 0,
    parameter int DEPTH         = 32,  // words in the ring
    parameter bit BLOCK         = 0    // ring in block RAM
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
  localparam int OUT_ROWS = (ROWS - KERNEL_ROWS) / STRIDE_ROWS + 1;
  localparam int OUT_COLUMNS = (COLUMNS - KERNEL_COLUMNS) / STRIDE_COLUMNS + 1;
  // In words: from a window's first to its last, and from the first of a window to the first of the next.
  localparam int SPAN = ((KERNEL_ROWS - 1) * COLUMNS + KERNEL_COLUMNS) * FOLDS;
  localparam int TO_COLUMN = STRIDE_COLUMNS * FOLDS;
  localparam int TO_ROW = (STRIDE_ROWS * COLUMNS - (OUT_COLUMNS - 1) * STRIDE_COLUMNS) * FOLDS;
  localparam int TO_IMAGE =
      (ROWS * COLUMNS - (OUT_ROWS - 1) * STRIDE_ROWS * COLUMNS - (OUT_COLUMNS - 1) * STRIDE_COLUMNS) * FOLDS;

  // Three loops inside a window, the fastest first. FAR_n: from the loop's first word to its last.
  localparam int N0 = DEPTHWISE ? KERNEL_COLUMNS : FOLDS * KERNEL_COLUMNS;
  localparam int N1 = KERNEL_ROWS;
  localparam int N2 = DEPTHWISE ? FOLDS : 1;
  localparam int STEP0 = DEPTHWISE ? FOLDS : 1;
  localparam int FAR0 = (N0 - 1) * STEP0;
  localparam int FAR1 = FAR0 + (N1 - 1) * COLUMNS * FOLDS;
  localparam int FAR2 = SPAN - 1;

  // Steps of the read address, each taken round the ring into 0 .. DEPTH - 1; above it, the same less DEPTH.
  localparam int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  function automatic [2*ADDRESS_BITS-1:0] around(input int distance);
    int step;
    step = ((distance % DEPTH) + DEPTH) % DEPTH;
    around = {ADDRESS_BITS'(step - DEPTH), ADDRESS_BITS'(step)};
  endfunction
  localparam [2*ADDRESS_BITS-1:0] NEXT0 = around(STEP0);
  localparam [2*ADDRESS_BITS-1:0] NEXT1 = around(COLUMNS * FOLDS - FAR0);
  localparam [2*ADDRESS_BITS-1:0] NEXT2 = around(1 - FAR1);
  localparam [2*ADDRESS_BITS-1:0] NEXT_COLUMN = around(TO_COLUMN - FAR2);
  localparam [2*ADDRESS_BITS-1:0] NEXT_ROW = around(TO_ROW - FAR2);
  localparam [2*ADDRESS_BITS-1:0] NEXT_IMAGE = around(TO_IMAGE - FAR2);

  logic push, pushed, issue, free, last0, last1, last2, last_column, last_row, window_ends;
  counter #(.STATES(N0)) loop0 (.clk, .rst, .step(issue), .value(), .last(last0));
  counter #(.STATES(N1)) loop1 (.clk, .rst, .step(issue & last0), .value(), .last(last1));
  counter #(.STATES(N2)) loop2 (.clk, .rst, .step(issue & last0 & last1), .value(), .last(last2));
  assign window_ends = last0 & last1 & last2;
  counter #(.STATES(OUT_COLUMNS)) columns (.clk, .rst, .step(issue & window_ends), .value(), .last(last_column));
  counter #(.STATES(OUT_ROWS)) rows (
      .clk, .rst, .step(issue & window_ends & last_column), .value(), .last(last_row)
  );

  // Words that are there beyond the window's last: a sign says whether there is a window. There may be LIMIT of them,
  // and the last two that came; a power of two where the ring is large enough, so that one look at a bit or two says no.
  function automatic int larger(input int a, input int b);
    larger = a > b ? a : b;
  endfunction
  localparam int FURTHEST = larger(TO_COLUMN, larger(TO_ROW, TO_IMAGE));
  localparam int MOST = DEPTH - 1 - SPAN;
  localparam int LIMIT = 2 ** $clog2(FURTHEST) <= MOST ? 2 ** $clog2(FURTHEST) : MOST;
  localparam int REACH = larger(LIMIT + 2, larger(SPAN, FURTHEST));
  localparam int AMOUNT_BITS = $clog2(REACH) + 1;
  logic signed [AMOUNT_BITS-1:0] beyond, more;  // the word that came, less what a window frees
  always_comb
    if (~issue | ~window_ends) more = AMOUNT_BITS'(pushed ? 1 : 0);
    else if (~last_column) more = AMOUNT_BITS'(pushed ? 1 - TO_COLUMN : -TO_COLUMN);
    else if (~last_row) more = AMOUNT_BITS'(pushed ? 1 - TO_ROW : -TO_ROW);
    else more = AMOUNT_BITS'(pushed ? 1 - TO_IMAGE : -TO_IMAGE);
  always_ff @(posedge clk)
    if (rst) begin
      beyond <= AMOUNT_BITS'(-SPAN);
      pushed <= 1'b0;
    end else begin
      beyond <= beyond + more;
      pushed <= push;
    end

  localparam int LIMIT_BIT = $clog2(LIMIT);
  if (LIMIT == 2 ** LIMIT_BIT) begin : g_bits
    assign in_ready = beyond[AMOUNT_BITS-1] | ~|beyond[AMOUNT_BITS-2:LIMIT_BIT];
  end else begin : g_compare
    assign in_ready = beyond < AMOUNT_BITS'(LIMIT);
  end
  assign push = in_valid & in_ready;
  assign issue = ~beyond[AMOUNT_BITS-1] & free;

  logic [ADDRESS_BITS-1:0] write_address, read_address, next, next_wrapped, sum, wrapped;
  logic beyond_end;  // of the ring
  counter #(.STATES(DEPTH)) write_place (.clk, .rst, .step(push), .value(write_address), .last());
  assign {next_wrapped, next} = ~last0 ? NEXT0 : ~last1 ? NEXT1 : ~last2 ? NEXT2 : ~last_column ? NEXT_COLUMN :
      ~last_row ? NEXT_ROW : NEXT_IMAGE;
  assign sum = read_address + next;
  if (DEPTH == 2 ** ADDRESS_BITS) begin : g_power
    assign {beyond_end, wrapped} = {1'b0, next_wrapped};
  end else begin : g_wrap  // two additions beside each other, for speed
    assign {beyond_end, wrapped} = {1'b0, read_address} + {1'b0, next_wrapped};
  end
  always_ff @(posedge clk)
    if (rst) read_address <= '0;
    else if (issue) read_address <= beyond_end ? wrapped : sum;

  logic move;  // whether the output takes a word, or none
  assign move = ~out_valid | out_ready;
  if (BLOCK) begin : g_block
    (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] ring[0:DEPTH-1];
    logic [WIDTH-1:0] word;
    logic holds;
    assign free = ~holds | move;
    always_ff @(posedge clk) begin
      if (push) ring[write_address] <= in_data;
      if (free) word <= ring[read_address];
      if (move) out_data <= word;
      if (rst) {holds, out_valid} <= 2'b00;
      else begin
        if (free) holds <= issue;
        if (move) out_valid <= holds;
      end
    end
  end else begin : g_lut
    (* ram_style = "distributed", no_rw_check *) logic [WIDTH-1:0] ring[0:DEPTH-1];
    assign free = move;
    always_ff @(posedge clk) begin
      if (push) ring[write_address] <= in_data;
      if (free) out_data <= ring[read_address];
      if (rst) out_valid <= 1'b0;
      else if (free) out_valid <= issue;
    end
  end
endmodule
