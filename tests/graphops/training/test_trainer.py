"""Training as a whole: it learns, it says what is wrong, and its result is what it reports."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphops.data import DataSet, Split
from graphops.data.normalisation import by_name
from graphops.evaluate import evaluate
from graphops.inference import session
from graphops.models import build
from graphops.training import Progress, TrainOptions, train
from graphops.training.schedules import learning_rate
from graphops.training.state import COLLAPSED, DIVERGED, State
from graphops.training.teacher import Teacher
from passes import GateSkips, RemoveSkips, UserError
from tests.graphops.training.nets import he, net, normalised, ones, same_values, small, value

FAST = TrainOptions(epochs=6, batch=64, lr=0.1, warmup=10, workers=2)


def resnet8(digits: DataSet, width: int = 8, **options: Any) -> onnx.ModelProto:
    return build("resnet8", classes=10, image=digits.image_shape, width=width, **options)


@pytest.fixture(scope="module")
def taught(digits: DataSet) -> onnx.ModelProto:
    """A ResNet8 that knows the digits."""
    return train(resnet8(digits), digits, FAST).model


def test_a_resnet8_learns_the_digits_and_its_history_is_what_evaluate_finds(digits: DataSet) -> None:
    seen: list[Progress] = []
    trained = train(resnet8(digits), digits, FAST, progress=seen.append)
    last = trained.history[-1]
    assert last["test_accuracy"] > 0.95
    assert last["test_accuracy"] == evaluate(trained.model, digits).accuracy
    assert [h["epoch"] for h in trained.history] == [1, 2, 3, 4, 5, 6]
    assert [h["loss"] for h in trained.history] == sorted((h["loss"] for h in trained.history), reverse=True)
    assert [p.step for p in seen] == list(range(1, 127))
    assert (seen[-1].epoch, seen[-1].epochs, seen[-1].steps) == (6, 6, 126)
    assert (seen[-1].loss, seen[-1].accuracy) == (last["loss"], last["accuracy"])
    assert seen[-1].test_accuracy == last["test_accuracy"]
    rates = [learning_rate(FAST, step, 126) for step in range(126)]
    assert [p.lr for p in seen] == rates
    assert [h["lr"] for h in trained.history] == rates[20::21]
    assert seen[5].images_per_second > 0
    assert seen[5].seconds_left > 0


def test_nothing_but_trained_values_and_statistics_changes(digits: DataSet) -> None:
    before = resnet8(digits)
    after = train(before, digits, dataclasses.replace(FAST, steps=2)).model
    for tensor in after.graph.initializer:
        constant = tensor.data_type != onnx.TensorProto.FLOAT
        assert (
            tensor.raw_data == next(i for i in before.graph.initializer if i.name == tensor.name).raw_data
        ) == constant
        tensor.raw_data = b""
    for tensor in before.graph.initializer:
        tensor.raw_data = b""
    assert after.SerializeToString(deterministic=True) == before.SerializeToString(deterministic=True)


def test_adamw_learns_too(digits: DataSet) -> None:
    options = dataclasses.replace(FAST, optimizer="adamw", lr=0.01, weight_decay=0.01, epochs=4)
    assert train(resnet8(digits), digits, options).history[-1]["test_accuracy"] > 0.95


@pytest.mark.parametrize(("given", "steps", "epochs"), [({"steps": 5}, 5, 1), ({"epochs": 1.5}, 32, 2)])
def test_a_run_may_end_within_an_epoch(digits: DataSet, given: dict[str, Any], steps: int, epochs: int) -> None:
    history = train(resnet8(digits, 4), digits, dataclasses.replace(FAST, **given)).history
    assert (history[-1]["step"], len(history)) == (steps, epochs)
    assert history[-1]["epoch"] == steps / 21


def test_evaluation_may_be_rarer_or_left_out(digits: DataSet) -> None:
    rare = train(resnet8(digits, 4), digits, dataclasses.replace(FAST, epochs=3, evaluate_every=2)).history
    assert [h["test_accuracy"] is None for h in rare] == [True, False, False]
    none = train(resnet8(digits, 4), digits, dataclasses.replace(FAST, epochs=1, evaluate_every=0)).history
    assert none[0]["test_accuracy"] is None


def test_gates_are_faded_to_zero_so_that_skips_go_exactly(digits: DataSet, taught: onnx.ModelProto) -> None:
    gated = GateSkips().apply(taught).model
    seen: list[Progress] = []
    options = dataclasses.replace(FAST, epochs=2, gates_end=0.5, lr=0.02)
    trained = train(gated, digits, options, teacher=taught, progress=seen.append)
    assert [p.gates[0] for p in seen[:3]] == pytest.approx([1, 20 / 21, 19 / 21])
    assert seen[-1].gates == (0, 0, 0)
    assert trained.history[0]["gates"] == pytest.approx([1 / 21] * 3)
    plain = RemoveSkips().apply(trained.model).model
    assert evaluate(plain, digits).accuracy == trained.history[-1]["test_accuracy"] > 0.9


def test_a_gate_fades_from_its_own_value(digits: DataSet) -> None:
    gated = GateSkips().apply(resnet8(digits, 4)).model
    name = next(i.name for i in gated.graph.initializer if i.dims == [] or list(i.dims) == [1])
    half = onnx.numpy_helper.from_array(np.float32(0.5) * value(gated, name), name)
    next(i for i in gated.graph.initializer if i.name == name).CopyFrom(half)
    seen: list[Progress] = []
    train(gated, digits, dataclasses.replace(FAST, steps=4, gates_end=1.0), progress=seen.append)
    assert sorted(p.gates[0] for p in seen) + sorted(p.gates[-1] for p in seen) == pytest.approx(
        [0, 0.5 / 3, 1 / 3, 0.5, 0, 1 / 3, 2 / 3, 1]
    )


def test_a_student_follows_its_teacher(digits: DataSet, taught: onnx.ModelProto, tmp_path: Path) -> None:
    """With the loss all on the teacher's logits and features, no label is used, and both distances fall."""
    student = resnet8(digits, seed=3)
    feature = next(o for n in student.graph.node if n.op_type == "Relu" for o in n.output if "layer3" in o)
    options = dataclasses.replace(FAST, epochs=4, distill_weight=1.0, features=(feature,), feature_weight=10.0)
    trained = train(student, digits, options, teacher=taught, folder=tmp_path)
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open() if '"step", ' in line]
    assert set(steps[0]) == {
        *("kind", "step", "loss", "distillation", f"feature {feature}", "accuracy", "lr", "gradient_norm")
    }
    for term in ("distillation", f"feature {feature}"):
        assert steps[-1][term] < steps[0][term] / 4
    assert trained.history[-1]["test_accuracy"] > 0.9


def test_a_teacher_without_weight_changes_nothing(digits: DataSet) -> None:
    options, model = dataclasses.replace(FAST, steps=3), resnet8(digits, 4)
    weightless = dataclasses.replace(options, distill_weight=0.0)
    assert same_values(train(model, digits, weightless, teacher=small()).model, train(model, digits, options).model)


def test_a_teacher_sees_what_the_student_sees_unless_it_names_a_normalisation(digits: DataSet) -> None:
    def logits(model: onnx.ModelProto) -> np.ndarray:
        teacher = Teacher(model, digits, by_name("unit"), ["y"], "y", threads=1)
        return teacher(digits.train.images[:4])["graphops_loss/teacher/y"]

    silent, named = small(), small()
    helper.set_model_props(named, {"graphops.normalisation": "digits"})
    assert (logits(named) != logits(silent)).any()
    helper.set_model_props(named, {"graphops.normalisation": "unit"})
    np.testing.assert_array_equal(logits(named), logits(silent))


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_a_teacher_sees_the_images_as_its_student_does(digits: DataSet, augmentation: Any) -> None:
    """Each image is seen twice: what the teacher makes of it is remembered where it is not augmented."""
    options = TrainOptions(epochs=2, batch=2000, lr=1e-9, distill_weight=1.0, augment=augmentation, workers=2)
    history = train(small(), digits, options, teacher=small()).history
    assert [record["loss"] for record in history] == pytest.approx([0, 0], abs=1e-9)


def of_a_fixed_batch(middle: str, domains: str = "", **more: object) -> onnx.ModelProto:
    """A teacher of four images at once, with ``middle`` (from ``f`` to ``y``) at its end."""
    body = f"p = GlobalAveragePool(x) e = Flatten(p) f = Gemm <transB = 1> (e, w) {middle}"
    weights = {"w": he(10, 1), **more}
    return net(body, weights, given="float[4,1,8,8] x", wanted="float[4,10] y", domains=domains)


def test_a_teacher_of_a_fixed_batch_follows_any(digits: DataSet) -> None:
    shapes = {"s1": np.array([4, 2, 5]), "s2": np.array([4, 10])}
    model = of_a_fixed_batch("r = Reshape(f, s1) y = Reshape(r, s2)", **shapes)
    teacher = Teacher(model, digits, by_name("unit"), ["y"], "y", threads=1)
    assert teacher(digits.train.images[:3])["graphops_loss/teacher/y"].shape == (3, 10)


def test_a_teacher_may_compute_in_float16(digits: DataSet) -> None:
    def answers(kind: str) -> dict[str, np.ndarray]:
        body = "p = GlobalAveragePool(x) e = Flatten(p) y = Gemm <transB = 1> (e, w)"
        weights = {"w": he(10, 1).astype("float32" if kind == "float" else kind)}
        model = net(body, weights, given=f"{kind}[N,1,8,8] x", wanted=f"{kind}[N,10] y")
        teacher = Teacher(model, digits, by_name("digits"), ["y", "e"], "y", threads=1)
        return teacher(digits.train.images[:3])

    exact, half = answers("float"), answers("float16")
    for name, found in half.items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact[name], atol=5e-3)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (of_a_fixed_batch("y = acme.Foo(f)", ', "acme" : 1'), "cannot load the teacher .*acme"),
        (of_a_fixed_batch("y = Add(f, k)", k=ones(4, 10)), "cannot run the teacher on 2 images"),
    ],
)
def test_a_teacher_that_does_not_run_is_refused_in_one_sentence(
    digits: DataSet, model: onnx.ModelProto, why: str
) -> None:
    with pytest.raises(UserError, match=why) as caught:
        train(small(), digits, dataclasses.replace(FAST, steps=1), teacher=model)
    assert "\n" not in str(caught.value)


def test_a_normalisation_that_was_named_is_kept_in_the_model(digits: DataSet) -> None:
    options = dataclasses.replace(FAST, epochs=2, normalisation="unit", evaluate_limit=50)
    trained = train(resnet8(digits, 4), digits, options)
    assert [(p.key, p.value) for p in trained.model.metadata_props if p.key == "graphops.normalisation"] == [
        ("graphops.normalisation", "unit")
    ]
    found = evaluate(trained.model, digits, limit=50).accuracy
    assert trained.history[-1]["test_accuracy"] == found != evaluate(trained.model, digits).accuracy


def test_a_model_with_a_fixed_batch_and_a_newer_opset_comes_back_as_it_was(digits: DataSet) -> None:
    model = small(given="float[1,1,8,8] x", wanted="float[1,10] y", opset=23, ir=13)
    trained = train(model, digits, dataclasses.replace(FAST, steps=3))
    assert (trained.model.ir_version, trained.model.opset_import[0].version) == (13, 23)
    assert trained.model.graph.input == model.graph.input
    assert "converted from opset 23" in trained.notes[0]


@pytest.mark.parametrize("lr", [1e20, 100.0])
def test_divergence_stops_with_step_rate_and_checkpoint(digits: DataSet, tmp_path: Path, lr: float) -> None:
    options = dataclasses.replace(FAST, lr=lr, clip_norm=0, warmup=0, checkpoint_steps=1)
    with pytest.raises(
        UserError, match=r"diverged at step \d+ of 126 .*learning rate .*checkpoint-0+\d+\.bin"
    ) as caught:
        train(small(), digits, options, folder=tmp_path)
    last = sorted(tmp_path.glob("checkpoint-*.bin"))[-1]
    assert str(last) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_divergence_without_a_folder_says_that_there_is_no_checkpoint(digits: DataSet) -> None:
    with pytest.raises(UserError, match="there is no checkpoint"):
        train(small(), digits, dataclasses.replace(FAST, lr=1e20, clip_norm=0))


@pytest.mark.parametrize(
    "middle",
    [
        "k = Mul(a, huge) b = Mul(k, huge)",
        "r = Relu(a) b = Sqrt(r)",  # whose gradient alone is no number
    ],
)
def test_a_model_that_gives_nothing_finite_is_not_said_to_need_a_lower_rate(digits: DataSet, middle: str) -> None:
    model = small(middle, {"huge": np.float32(3e38)})
    with pytest.raises(UserError, match=r"diverged at step 1 of .*; nothing has moved yet, so mend the model"):
        train(model, digits, FAST)


@pytest.mark.parametrize(("first", "level"), [(0.01, math.log(10)), (50.0, 50.0)])
def test_divergence_is_a_loss_far_above_the_first_one_and_above_guessing(first: float, level: float) -> None:
    """A trained network's first loss is close to 0, that of a distillation may be large."""
    state = State()
    assert all(state.follows(loss, math.log(10)) for loss in (first, *[0.9 * DIVERGED * level] * 100))
    assert not all(state.follows(1.1 * DIVERGED * level, math.log(10)) for _ in range(100))


@pytest.mark.parametrize("bias", ["b1", "b2"])
def test_a_collapse_stops_with_its_steps_and_stays_stopped(digits: DataSet, tmp_path: Path, bias: str) -> None:
    model = normalised()
    next(i for i in model.graph.initializer if i.name == bias).CopyFrom(
        numpy_helper.from_array(np.full(4, -50, np.float32), bias)  # the ReLU behind it gives 0 for every image
    )
    options = dataclasses.replace(FAST, checkpoint_steps=1)
    steps: list[int] = []
    for _ in range(2):
        with pytest.raises(UserError, match=r"collapsed: from step 1 to step 100 of 126 .*lower lr") as caught:
            train(model, digits, options, folder=tmp_path, progress=lambda p: steps.append(p.step))
        assert "\n" not in str(caught.value)
    assert max(steps) == 99, "the second call goes on where the first stopped"
    assert steps.count(1) == 1


def test_logits_that_differ_again_are_no_collapse() -> None:
    state, same = State(), np.full((4, 3), 0.5, np.float32)
    other = same + np.float32([[0], [0], [0], [1e-3]])
    assert all(state.sees(same) for _ in range(COLLAPSED - 1))
    assert state.sees(other)
    assert all(state.sees(same) for _ in range(COLLAPSED - 1))
    assert not state.sees(same)
    assert not state.sees(np.zeros((2, 3), np.float32))


def test_a_single_image_tells_nothing_of_a_collapse() -> None:
    state = State()
    assert all(state.sees(np.ones((1, 3), np.float32)) for _ in range(2 * COLLAPSED))


def test_another_number_of_classes_is_refused(digits: DataSet) -> None:
    with pytest.raises(UserError, match="model has 7 classes and digits has 10"):
        train(build("resnet8", classes=7, image=digits.image_shape, width=4), digits, FAST)


def test_images_that_do_not_fit_are_refused(digits: DataSet) -> None:
    with pytest.raises(UserError, match="3x32x32"):
        train(build("resnet8"), digits, FAST)


def test_a_teacher_of_other_classes_or_features_is_refused(digits: DataSet) -> None:
    other = build("resnet8", classes=7, image=digits.image_shape, width=4)
    with pytest.raises(UserError, match=r"\[7\] an image and the model's \[10\]"):
        train(resnet8(digits, 4), digits, FAST, teacher=other)
    options = dataclasses.replace(FAST, features=("a",))
    wider = small(more={"conv_w": he(6, 1, 3, 3), "fc_w": he(10, 6)})
    with pytest.raises(UserError, match=r"'a' are \[6, 8, 8\] an image and the model's \[4, 8, 8\]"):
        train(small(), digits, options, teacher=wider)
    with pytest.raises(UserError, match="teacher has no tensor 'a'"):
        train(small(), digits, options, teacher=resnet8(digits, 4))
    with pytest.raises(UserError, match="there is none; give one"):
        train(small(), digits, options)


def test_the_number_of_workers_is_part_of_the_result(digits: DataSet) -> None:
    """Normalisation is over each worker's share."""
    one, two, again = (
        train(resnet8(digits, 4), digits, dataclasses.replace(FAST, steps=3, workers=w)).model for w in (1, 2, 2)
    )
    assert same_values(two, again)
    assert not same_values(one, two)


def test_images_of_floats_and_a_model_of_bytes_train_too(digits: DataSet) -> None:
    floats = DataSet(
        "floats",
        *(Split(s.images.astype(np.float32), s.labels) for s in (digits.train, digits.test)),
        digits.classes,
        digits.normalisation,
    )
    wide = train(small(), floats, dataclasses.replace(FAST, steps=3)).model
    assert same_values(wide, train(small(), digits, dataclasses.replace(FAST, steps=3)).model)

    trained = train(of_bytes(), digits, dataclasses.replace(FAST, steps=3))
    assert trained.history[-1]["loss"] > 0


def of_bytes() -> onnx.ModelProto:
    model = small(given="uint8[N,1,8,8] u")
    model.graph.node.insert(0, helper.make_node("Cast", ["u"], ["x"], to=onnx.TensorProto.FLOAT))
    return model


@pytest.mark.parametrize("options", [{}, {"distill_weight": 0.0, "max_drop": 1.0}])
def test_a_teacher_may_take_bytes_and_its_student_floats(digits: DataSet, options: dict[str, Any]) -> None:
    """The normalisation is the student's alone."""
    options = {"steps": 1, "evaluate_limit": 10, "normalisation": "unit", **options}
    train(small(), digits, dataclasses.replace(FAST, **options), teacher=of_bytes())


def test_the_metrics_of_something_else_are_not_overwritten(digits: DataSet, tmp_path: Path) -> None:
    """Such as those of a pipeline's run, in whose folder checkpoints were meant to lie."""
    (tmp_path / "metrics.jsonl").write_text('{"folder": "01-build", "test_accuracy": 0.1}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl is no training's, and would be overwritten; choose another"):
        train(small(), digits, dataclasses.replace(FAST, steps=1), folder=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text().startswith('{"folder"')


def test_a_disk_that_is_full_for_metrics_is_one_sentence(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from graphops.data import load
from graphops.models import build
from graphops.training import TrainOptions, train
from passes import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
digits = load("digits")
try:
    train(build("resnet8", image=digits.image_shape, width=4), digits, TrainOptions(batch=64), folder=Path(sys.argv[1]))
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert "metrics.jsonl cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_batch_norm_whose_statistics_are_kept_goes_by_them(digits: DataSet) -> None:
    few = dataclasses.replace(digits, train=digits.train.first(30))
    model = normalised()
    options = dataclasses.replace(FAST, steps=1, batch=30, workers=2, augment="none", freeze=("m1", "v?"))
    with pytest.raises(UserError, match="keeps one of the running statistics 'm2' and 'v2' and not the other"):
        train(model, few, options)
    trained = train(model, few, dataclasses.replace(options, freeze=("m?", "v?")))
    for name in ("m1", "v1", "m2", "v2"):
        np.testing.assert_array_equal(value(trained.model, name), value(model, name))
    assert not np.array_equal(value(trained.model, "s1"), value(model, "s1"))
    logits = session(model).run(None, {"x": few.normalisation(few.train.images)})[0].astype(np.float64)
    right = logits[np.arange(30), few.train.labels]
    loss = (np.log(np.exp(logits).sum(1)) - right).mean()
    assert trained.history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert trained.history[0]["accuracy"] == (logits.argmax(1) == few.train.labels).mean() > 0


def test_an_epoch_is_the_mean_of_its_steps(digits: DataSet, tmp_path: Path) -> None:
    train(small(), digits, dataclasses.replace(FAST, epochs=2, batch=300), folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == [*["step"] * 4, "epoch"] * 2
    for *steps, epoch in (lines[:5], lines[5:]):
        for figure in ("loss", "accuracy"):
            assert epoch[figure] == pytest.approx(np.mean([step[figure] for step in steps]))


@pytest.mark.parametrize("given", ["float[N,1,8,8] x", "float[N,1,H,W] x", "float[1,1,8,8] x", "float[A,B,C,D] x"])
@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
def test_networks_that_pool_train_whatever_their_input_leaves_open(digits: DataSet, given: str, kind: str) -> None:
    """The runtime's gradients of pooling end the process where sizes are open."""
    model = small(f"r = Relu(a) b = {kind} <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (r)", given=given)
    trained = train(model, digits, dataclasses.replace(FAST, steps=1, evaluate_limit=10)).model
    assert not np.array_equal(value(trained, "conv_w"), value(model, "conv_w"))


def test_pads_that_depend_on_open_sizes_are_those_of_the_images(digits: DataSet) -> None:
    body = 'r = Relu(a) b = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (r, w)'
    options = dataclasses.replace(FAST, steps=2, evaluate_limit=10)
    fixed, free = (small(body, {"w": he(4, 4, 3, 3)}, given=f"float[N,1,{size}] x") for size in ("8,8", "H,W"))
    assert same_values(train(free, digits, options).model, train(fixed, digits, options).model)


def test_a_feature_of_one_pixel_is_followed_too(digits: DataSet) -> None:
    options = dataclasses.replace(FAST, steps=1, features=("pooled",))
    assert train(small(), digits, options, teacher=small()).history[-1]["loss"] > 0


def test_features_may_be_named_by_patterns(digits: DataSet, taught: onnx.ModelProto, tmp_path: Path) -> None:
    options = dataclasses.replace(FAST, steps=1, features=("layer?.?.out",))
    train(resnet8(digits), digits, options, teacher=taught, folder=tmp_path)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    names = [name for name in first if name.startswith("feature ")]
    assert names == [f"feature layer{k}.0.out" for k in (1, 2, 3)]
