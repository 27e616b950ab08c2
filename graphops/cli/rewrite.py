"""A verb for each pass, its options generated from the pass's fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer
from rich.console import Console

from graphops import external
from graphops.bench import Bench
from graphops.cli.common import (
    Bits,
    DataDir,
    Force,
    Json,
    ModelFile,
    OutputFile,
    Report,
    ScreenWatch,
    check_data,
    check_report,
    emit,
    print_notes,
)
from graphops.cli.generate import given, keyword, parameters, with_signature
from graphops.cli.training import TRAINING, flag, train_and_score, training_options, training_parameters
from graphops.measured import is_wanted, option
from graphops.modelfile import beside, check_target, load_model, save_model
from graphops.options import make, options, summary
from graphops.report.compare import comparison
from graphops.report.summary import summarise
from graphops.steps import Finetune, Rewrite, finetune
from passes.base import Pass
from passes.errors import UserError

Verify = Annotated[
    bool, typer.Option("--verify", help="Run both models on random inputs and print the largest difference.")
]
Train = Annotated[
    str | None, typer.Option("--train", metavar="DATA", help="Fine-tune on this data set.", rich_help_panel=TRAINING)
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The data set that the pass measures on."),
]


# The options of a training that a pass goes by as well where it measures this option of its own.
_MEASURING = {"scores": ("normalisation", "output"), "ranges": ("normalisation",)}


def rewrite_verb(cls: type[Pass]) -> Callable[..., None]:
    """The verb that runs pass ``cls``."""
    signature = [keyword("model", ModelFile), keyword("output", OutputFile, None), *parameters(options(cls))]
    signature += [keyword("bits", Bits, 32), keyword("verify", Verify, False), keyword("force", Force, False)]
    signature += [keyword("report", Report, None), keyword("json", Json, False)]
    if option(cls):
        signature.append(keyword("data", Data, None))
    if not cls.exact:
        signature += [keyword("train", Train, None), *training_parameters()]
    if option(cls) or not cls.exact:
        signature.append(keyword("data_dir", DataDir, None))
    return with_signature(lambda values: _rewrite(cls, values), cls.name, summary(cls), signature)


def _rewrite(cls: type[Pass], values: dict[str, Any]) -> None:
    source: Path = values["model"]
    target: Path = values["output"] or beside(source, cls.name)
    check_report(values["report"], values["force"], target, [source])
    check_target(target, source, values["force"])
    rewriter = make(cls, given(values, options(cls)), cls.name)
    data, train = values.get("data"), values.get("train")
    check_data(data or train, values.get("data_dir"), by="--data or --train" if option(cls) else "--train")
    measures = is_wanted(rewriter, data)
    training = _training(values, option(cls) if measures else None)
    step = Rewrite(rewriter, data or train, values.get("normalisation")) if measures else Rewrite(rewriter, data)
    if is_wanted(rewriter) and step.data is None:
        raise UserError(f"{cls.name} measures its {option(cls)} on images; pass --data, e.g. --data cifar10.")

    model = load_model(source, weights=step.reads_weights or training is not None)
    bench = Bench(data_dir=values.get("data_dir"), output=values.get("logits"))
    with ScreenWatch(cls.name) as bench.watch:
        outcome = step.run(model, bench)
    payload: dict[str, Any] = {
        "pass": cls.name,
        "exact": cls.exact,
        "options": step.settings() | outcome.figures,
        "input": str(source),
        "output": str(target),
        "changed": outcome.changed,
        "notes": list(outcome.notes),
        "before": asdict(before := summarise(model, values["bits"])),
        "after": asdict(after := summarise(outcome.model, values["bits"])),
    }
    if values["verify"]:
        payload["verify"] = _verify(rewriter, source, outcome.model)
    if training is not None:
        payload["training"] = train_and_score(training, outcome.model, target, values)
    else:
        save_model(outcome.model, target, values["force"], source)

    def show(screen: Console) -> None:
        screen.print(comparison(before, after))
        print_notes(screen, outcome.notes or ("There was nothing to change.",) * (not outcome.changed))
        if "verify" in payload:
            screen.print(payload["verify"]["sentence"], soft_wrap=True)
        if "training" in payload:
            print_notes(screen, payload["training"]["notes"])
            screen.print(payload["training"]["sentence"], soft_wrap=True)
        screen.print(f"Written: {target}", soft_wrap=True)

    emit(payload, show, values["json"], values["report"])


def _training(values: dict[str, Any], measured: str | None) -> Finetune | None:
    chosen = training_options(values)
    if values.get("train") is None:
        named = [name for name in ("teacher", "checkpoints") if values.get(name)] + list(chosen)
        named = [flag(name) for name in named if name not in _MEASURING.get(measured or "", ())]
        if named:
            raise UserError(
                f"{named[0]} says how to fine-tune, but nothing says on what; pass --train, e.g. --train cifar10."
            )
        return None
    return finetune(values["train"], teacher=values["teacher"], **chosen)


def _verify(rewriter: Pass, source: Path, rewritten: onnx.ModelProto) -> dict[str, Any]:
    from graphops.verify import difference

    whole = onnx.ModelProto()
    whole.CopyFrom(rewritten)
    external.load(whole, source.parent)
    found = difference(load_model(source), whole)
    if rewriter.exact and not found.is_rounding:
        raise UserError(
            f"{rewriter.name} is exact, yet outputs differ by {found.largest:.3g} (their largest value is "
            f"{found.scale:.3g}); nothing was written, please report this model."
        )
    words = "float rounding" if found.is_rounding else "more than float rounding"
    claim = f"{rewriter.name} is exact" if rewriter.exact else f"{rewriter.name} is not exact"
    sentence = (
        f"Largest difference on random inputs: {found.largest:.3g}, where outputs reach {found.scale:.3g}: "
        f"{words}; {claim}."
    )
    return asdict(found) | {"rounding": found.is_rounding, "sentence": sentence}
