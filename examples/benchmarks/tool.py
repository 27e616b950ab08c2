"""One graph tool at work on one file, for passes.py: prints the processor seconds of its one call.

It runs with the tool's own Python and imports nothing else of ours.

    python tool.py onnxslim MODEL.onnx 300      # ends after 300 processor seconds
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

Work = Callable[[Any], object]


def onnxslim() -> Work:
    import onnxslim

    return onnxslim.slim


def onnxsim() -> Work:
    import onnxsim

    return onnxsim.simplify


def onnxoptimizer() -> Work:
    import onnxoptimizer

    return lambda model: onnxoptimizer.optimize(model, onnxoptimizer.get_fuse_and_elimination_passes())


def onnxscript() -> Work:
    from onnxscript import optimizer, rewriter

    return lambda model: rewriter.rewrite(optimizer.optimize(model))


TOOLS = {make.__name__: make for make in (onnxslim, onnxsim, onnxoptimizer, onnxscript)}


def seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    name, path, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    import onnx

    work, model = TOOLS[name](), onnx.load(path)
    started = seconds()
    work(model)
    print(seconds() - started)


if __name__ == "__main__":
    main()
