// The templates of finn-hlslib that graphops calls, written anew with the same names, parameters and results, so that
// C simulation needs nothing but these files. Where finn-hlslib itself is there, it takes the place of this folder.
#ifndef GRAPHOPS_LIBRARY_H
#define GRAPHOPS_LIBRARY_H

#include <ap_int.h>
#include <hls_stream.h>

#include "accpool.hpp"
#include "activations.hpp"
#include "addstreams.hpp"
#include "duplicatestreams.hpp"
#include "fmpadding.hpp"
#include "interpret.hpp"
#include "labelselect.hpp"
#include "mvau.hpp"
#include "pool.hpp"
#include "slidingwindow.h"
#include "thresholding.hpp"
#include "utils.hpp"
#include "vvau.hpp"
#include "weights.hpp"
#include "widthconverter.hpp"

#endif
