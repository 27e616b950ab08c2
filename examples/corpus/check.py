"""What becomes of one network: its skips counted and removed, and the exact passes held against their promise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from examples.corpus.networks import Kinds, Network
from examples.corpus.structure import fill
from passes import (
    FoldBatchNorm,
    FoldConstants,
    FoldSkips,
    GateSkips,
    InlineFunctions,
    MergeSkips,
    Pass,
    PassError,
    RemoveSkips,
    ShortenSkips,
    Skip,
    find_skips,
)

ROUNDING = 1e-4
"""Of the largest output; an exact pass changes no output by more."""

Say = Callable[[str], None]


@dataclass
class Outcome:
    """A row of the table.

    Attributes:
        expected: skips of each kind that the architecture has.
        found: skips of each kind that the analysis finds.
        removals: graphs with one skip, a stage's or all removed; all of them are valid and run.
        merged: skips that `merge-skips` takes out with no change of function.
        shortened: skips that `shorten-skips` makes short.
        folded: how many of the short ones `fold-skips` takes out with no change of function.
        largest: the largest difference that an exact pass made, relative to the largest output.
        refused: why skips were refused, and how many: by ``remove``, ``merge`` and ``shorten``.
        faults: what is not as it should be.
    """

    network: str
    source: str
    expected: Kinds
    found: Kinds = field(default_factory=dict)
    removals: int = 0
    merged: int = 0
    shortened: int = 0
    folded: int = 0
    largest: float = 0.0
    refused: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def check(network: Network, every: bool = True, say: Say = lambda text: None) -> Outcome:
    """Try everything on one network.

    Args:
        network: with or without its weights.
        every: remove each skip alone; else only the first of each kind and the last.
        say: is told what is being tried.
    """
    model = network.load()
    skips = find_skips(InlineFunctions().apply(model).model)
    outcome = Outcome(network.name, network.source, network.skips)
    outcome.found = dict(sorted(Counter(s.kind for s in skips).items()))
    if outcome.found != dict(sorted(network.skips.items())):
        outcome.faults.append(f"found {outcome.found}, not {network.skips}")
    if skips:
        model = InlineFunctions().apply(model).model
        _remove(model, skips, outcome, every, say)
        _keep(model, outcome, say)
    return outcome


# -- removing -----------------------------------------------------------------------------------------------------


def _remove(model: onnx.ModelProto, skips: list[Skip], outcome: Outcome, every: bool, say: Say) -> None:
    """Remove each skip alone, stage after stage, and all; the weights come in afterwards."""
    alone = skips if every else list({**{s.kind: s for s in reversed(skips)}, "last": skips[-1]}.values())
    refused: Counter[str] = Counter()
    gone = {s.number for s in skips}
    for skip in alone:
        say(f"without skip {skip.number}")
        try:
            rest = RemoveSkips(skips=(skip.number,)).apply(model).model
        except PassError as error:
            refused[_plain(error.reason)] += 1
            gone.discard(skip.number)
            continue
        _demand_it_runs(rest, f"without skip {skip.number}", outcome)
    staged = model
    for stage in (1, 2, 3):
        say(f"stage {stage}")
        staged = RemoveSkips(stage=stage).apply(staged).model
        _demand_it_runs(staged, f"after stage {stage}", outcome)
    say("without skips")
    rest = RemoveSkips().apply(model).model
    _demand_it_runs(rest, "without skips", outcome)
    if every and len(find_skips(rest)) != len(skips) - len(gone):
        outcome.faults.append(f"{len(find_skips(rest))} skips are left, not {len(skips) - len(gone)}")
    if rest.graph != staged.graph:
        outcome.faults.append("three stages come to something else than all at once")
    if refused:
        outcome.refused["remove"] = dict(refused)


def _demand_it_runs(model: onnx.ModelProto, what: str, outcome: Outcome) -> None:
    filled = fill(model)
    try:
        onnx.checker.check_model(filled, full_check=True)
        outputs = run(filled, feeds(filled))
    except Exception as error:
        outcome.faults.append(f"{what}: {error}")
        return
    outcome.removals += 1
    if not all(np.isfinite(o).all() for o in outputs):
        outcome.faults.append(f"{what}: not all outputs are finite")


# -- exact passes -------------------------------------------------------------------------------------------------


def _keep(model: onnx.ModelProto, outcome: Outcome, say: Say) -> None:
    """Run the passes that keep the outputs, and what becomes short of skips."""
    filled = fill(model)
    for rewriter in (FoldConstants(), FoldBatchNorm(), GateSkips()):
        say(rewriter.name)
        _compare(rewriter, filled, outcome)
    say("merge-skips")
    outcome.merged = _count(MergeSkips(), filled, outcome, "merge")
    say("shorten-skips")
    try:
        short = ShortenSkips().apply(filled)
    except PassError as error:
        outcome.refused["shorten"] = {_plain(error.reason): len(find_skips(filled))}
        return
    outcome.shortened = len([s for s in find_skips(short.model) if s.span == 1])
    refused = Counter(_reasons(short.notes))
    if refused:
        outcome.refused["shorten"] = dict(refused)
    say("fold-skips")
    outcome.folded = _count(FoldSkips(), short.model, outcome, "fold")
    if outcome.shortened == outcome.folded:
        outcome.refused.pop("fold", None)  # of the long ones that are left


def _count(rewriter: Pass, model: onnx.ModelProto, outcome: Outcome, verb: str) -> int:
    """How many skips an exact pass takes out; why it refuses the others goes into ``outcome``."""
    before = len(find_skips(model))
    try:
        after, notes = _compare(rewriter, model, outcome)
    except PassError as error:
        each = Counter(_each(rewriter, model))
        outcome.refused[verb] = dict(each) or {_plain(error.reason): before}
        return 0
    reasons = Counter(_reasons(notes))
    if reasons:
        outcome.refused[verb] = dict(reasons)
    return before - len(find_skips(after))


def _each(rewriter: Pass, model: onnx.ModelProto) -> Iterator[str]:
    """Why each skip alone is refused."""
    for skip in find_skips(model):
        try:
            type(rewriter)(skips=(skip.number,)).apply(model)  # type: ignore[call-arg]
        except PassError as error:
            yield _plain(error.reason)


def _compare(rewriter: Pass, model: onnx.ModelProto, outcome: Outcome) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Apply an exact pass and hold its outputs against the model's."""
    result = rewriter.apply(model)
    inputs = feeds(model)
    onnx.checker.check_model(result.model, full_check=True)
    for before, after in zip(run(model, inputs), run(result.model, inputs), strict=True):
        changed = float(np.abs(before - after).max(initial=0) / np.abs(before).max(initial=1e-30))
        if not changed <= ROUNDING:  # nor what is no number
            outcome.faults.append(f"{rewriter.name} changes an output by {changed:.1e} of its largest")
        outcome.largest = max(outcome.largest, changed)
    return result.model, result.notes


def _reasons(notes: tuple[str, ...]) -> Iterator[str]:
    for note in notes:
        match = re.match(r"[\w-]+: skip [\d.]+ at '.*?': (.*); [^;]*$", note)
        if match:
            yield _plain(match[1])


def _plain(reason: str) -> str:
    """A reason without the names in it, so that equal ones count together."""
    reason = re.sub(r"depends on '[^']*'", "depends on an input", reason)
    return re.sub(r" '[^']*'", "", re.sub(r"^'[^']*'", "a tensor", reason))


# -- running ------------------------------------------------------------------------------------------------------


def feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Normally distributed inputs, integers from 0 to 4; an open batch is 2, other open axes are 9."""
    random = np.random.default_rng(7)
    constants = {i.name for i in model.graph.initializer}
    given = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        shape = [d.dim_value or (9 if axis else 2) for axis, d in enumerate(kind.shape.dim)]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        drawn = random.integers(0, 5, shape) if dtype.kind in "iu" else random.standard_normal(shape)
        given[value.name] = drawn.astype(dtype)
    return given


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """onnxruntime's outputs, in float64; its own rewriting is off, so that what runs is what the pass wrote."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(o, np.float64) for o in session.run(None, inputs)]
