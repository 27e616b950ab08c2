"""The scripts of the folder for Vitis HLS."""

from __future__ import annotations

from hls_backend.design import Design

COSIMULATED = 2
"""Images of cosimulation, which takes minutes each."""

FLAGS = ("-std=c++17", "-O1", "-w")
"""Of the compiler. Headers of others bring warnings, which would hide ours."""

SIMULATION = ("-DGRAPHOPS_SIMULATION",)
BOUNDED = ("-DGRAPHOPS_BOUNDED",)


def tcl(design: Design, top: str) -> str:
    """run_hls.tcl. Names are braced: they are text to Tcl, whatever is in them."""
    return f"""\
# Vitis HLS: C simulation, synthesis, cosimulation and export of an IP core.
#
#   vitis_hls -f run_hls.tcl
#
# STEPS in the environment chooses among the steps, e.g. STEPS="csim csynth". HLSLIB names a folder of finn-hlslib, to
# be used in place of library/.

set here [file dirname [file normalize [info script]]]
set steps {{csim csynth cosim export}}
if {{[info exists ::env(STEPS)]}} {{ set steps $::env(STEPS) }}
set library [file join $here library]
if {{[info exists ::env(HLSLIB)]}} {{ set library [file normalize $::env(HLSLIB)] }}

set flags "-std=c++14 -I$here"
foreach folder [list $library [file join $here extra] [file join $here support]] {{ append flags " -I$folder" }}

open_project -reset project
set_top {{{top}}}
add_files [file join $here top.cpp] -cflags $flags
add_files -tb [file join $here testbench.cpp] -cflags $flags
open_solution -reset solution -flow_target vivado
set_part {{{design.part.device}}}
create_clock -period {1000 / design.clock_mhz:.6g} -name default

set data [file join $here data]
foreach step $steps {{
  switch $step {{
    csim {{ csim_design -argv $data }}
    csynth {{ csynth_design }}
    cosim {{ cosim_design -argv "$data {COSIMULATED}" }}
    export {{ export_design -format ip_catalog }}
    default {{ error "there is no step '$step'; STEPS takes csim, csynth, cosim and export" }}
  }}
}}
exit
"""


def makefile() -> str:
    """Makefile."""
    return f"""\
# C simulation of the top with a C++ compiler.
#
#   make AP_INT=FOLDER              on the templates of library/
#   make AP_INT=FOLDER HLSLIB=FOLDER    on finn-hlslib itself
#   make AP_INT=FOLDER bounded      each layer in a thread, on streams as deep as in hardware
#
# AP_INT is the folder of ap_int.h: Vitis HLS's include, or hls4ml/templates/vivado/ap_types of the hls4ml wheel.

CXX ?= g++
CXXFLAGS ?= {" ".join(FLAGS)}
HLSLIB ?= library
INCLUDES = -I. -Isimulation -Iextra -Isupport -I$(HLSLIB) -isystem $(AP_INT)
SOURCES = top.cpp testbench.cpp
COMPILE = $(CXX) $(CXXFLAGS) {" ".join(SIMULATION)} $(INCLUDES)

.PHONY: csim bounded clean
csim: csim.run
\t./csim.run data
bounded: bounded.run
\t./bounded.run data

csim.run: $(SOURCES) top.hpp $(wildcard parameters/*)
\t$(COMPILE) $(SOURCES) -o $@
bounded.run: $(SOURCES) top.hpp $(wildcard parameters/*)
\t$(COMPILE) {" ".join(BOUNDED)} $(SOURCES) -o $@

clean:
\trm -f csim.run bounded.run
"""
