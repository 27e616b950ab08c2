// Toggles the clock of `testbench` until it calls $finish.
#include <memory>

#include "Vtestbench.h"
#include "verilated.h"

int main(int argc, char** argv) {
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const auto bench = std::make_unique<Vtestbench>(context.get());
  bench->clk = 0;
  while (!context->gotFinish()) {
    context->timeInc(1);
    bench->clk = !bench->clk;
    bench->eval();
  }
  bench->final();
  return 0;
}
