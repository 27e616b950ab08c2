// LAYER(name, call) is a call, and RUN_LAYERS() nothing: to Vitis HLS the top is a plain dataflow function. In a
// simulation on bounded streams LAYER makes a thread of the call, and RUN_LAYERS runs all of them.
#ifndef GRAPHOPS_DATAFLOW_HPP
#define GRAPHOPS_DATAFLOW_HPP

#ifdef GRAPHOPS_BOUNDED
#include "layers.hpp"
#define LAYER(name, ...) simulation::Threads::all().start(#name, [&]() { __VA_ARGS__; })
#define RUN_LAYERS() simulation::Threads::all().run()
#else
#define LAYER(name, ...) __VA_ARGS__
#define RUN_LAYERS()
#endif

#endif
