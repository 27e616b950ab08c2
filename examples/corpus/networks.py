"""Residual networks and the skip connections that their papers give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from tests.passes import networks as built

EXPORTS = Path(__file__).parent / "exports"
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"

Kinds = dict[str, int]


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: of the architecture, and who wrote the graph.
        source: where the number and the kinds of skips below are from.
        skips: how many the architecture has of each kind.
        load: gives the graph; large weights may be missing (see `structure.fill`).
        light: whether it is small enough to be checked in a second or two.
    """

    name: str
    source: str
    skips: Kinds
    load: Callable[[], onnx.ModelProto]
    light: bool


@dataclass(frozen=True)
class _Paper:
    source: str
    skips: Kinds


def _kinds(identity: int = 0, projection: int = 0, padding: int = 0) -> Kinds:
    counts = {"identity": identity, "projection": projection, "padding": padding}
    return {kind: count for kind, count in counts.items() if count}


HE15, HE16 = "He et al. 2015, arXiv:1512.03385", "He et al. 2016, arXiv:1603.05027"
VASWANI = "Vaswani et al. 2017, arXiv:1706.03762, section 3.1"
PAPERS: dict[str, _Paper] = {
    "resnet-20, option A": _Paper(f"{HE15}, section 4.2: 9 blocks, zeros where the size halves", _kinds(7, padding=2)),
    "resnet-20, option B": _Paper(f"{HE15}, section 4.2: 9 blocks, 1x1 where the size halves", _kinds(7, 2)),
    "resnet-18": _Paper(f"{HE15}, table 1: 2+2+2+2 blocks", _kinds(5, 3)),
    "resnet-34": _Paper(f"{HE15}, table 1: 3+4+6+3 blocks", _kinds(13, 3)),
    "resnet-50": _Paper(f"{HE15}, table 1: 3+4+6+3 blocks; the first widens too", _kinds(12, 4)),
    "resnet-101": _Paper(f"{HE15}, table 1: 3+4+23+3 blocks", _kinds(29, 4)),
    "resnet-152": _Paper(f"{HE15}, table 1: 3+8+36+3 blocks", _kinds(46, 4)),
    "preactivation": _Paper(f"{HE16}, figure 1b; 3 stages of 2 blocks", _kinds(4, 2)),
    "wide-resnet-10": _Paper("Zagoruyko and Komodakis 2016, arXiv:1605.07146, table 1, N=1, k=2", _kinds(0, 3)),
    "wide-resnet-50": _Paper("Zagoruyko and Komodakis 2016, arXiv:1605.07146, section 3.3", _kinds(12, 4)),
    "resnext-50": _Paper("Xie et al. 2017, arXiv:1611.05431, table 1: 3+4+6+3 blocks", _kinds(12, 4)),
    "se-resnet": _Paper("Hu et al. 2018, arXiv:1709.01507, figure 3; 2 stages of 2 blocks", _kinds(3, 1)),
    "mobilenet-v2": _Paper(
        "Sandler et al. 2018, arXiv:1801.04381, table 2: 1+2+3+4+3+3+1 blocks, a skip in all but each first",
        _kinds(10),
    ),
    "efficientnet-b0": _Paper(
        "Tan and Le 2019, arXiv:1905.11946, table 1: 1+2+2+3+3+4+1 blocks, a skip in all but each first", _kinds(9)
    ),
    "convnext-tiny": _Paper("Liu et al. 2022, arXiv:2201.03545, section 2.2: 3+3+9+3 blocks", _kinds(18)),
    "unet": _Paper("Ronneberger et al. 2015, arXiv:1505.04597, its 2 copies added, as in LinkNet", _kinds(2)),
    "encoder-post-norm": _Paper(f"{VASWANI}: 2 a layer; 2 layers", _kinds(4)),
    "encoder-pre-norm": _Paper(f"{VASWANI}: 2 a layer; 2 layers", _kinds(4)),
    "encoder, mask fed": _Paper(f"{VASWANI}: 2 a layer; 2 layers", _kinds(4)),
    "encoder, mask computed": _Paper(f"{VASWANI}: 2 a layer; 2 layers", _kinds(4)),
    "decoder": _Paper(f"{VASWANI}: 3 a layer; 2 layers", _kinds(6)),
    "decoder with a cache": _Paper(f"{VASWANI}: 3 a layer; 2 layers", _kinds(6)),
    "quartznet": _Paper("Kriman et al. 2020, arXiv:1910.10261, section 3.1: one a block; 3 blocks", _kinds(0, 3)),
    "inception-resnet": _Paper("Szegedy et al. 2016, arXiv:1602.07261, figures 10, 11; 4 blocks", _kinds(4)),
    "shufflenet": _Paper(
        "Zhang et al. 2018, arXiv:1707.01083, table 1: 4+8+4 units, the first of each stage concatenates", _kinds(13)
    ),
    "densenet-121": _Paper("Huang et al. 2017, arXiv:1608.06993: concatenates", {}),
    "alexnet": _Paper("Krizhevsky et al. 2012: a plain network", {}),
    "inception-v1": _Paper("Szegedy et al. 2015, arXiv:1409.4842: concatenates", {}),
    "inception-v2": _Paper("Ioffe and Szegedy 2015, arXiv:1502.03167: concatenates", {}),
    "squeezenet": _Paper("Iandola et al. 2016, arXiv:1602.07360, figure 2 left: concatenates", {}),
    "vgg-19": _Paper("Simonyan and Zisserman 2015, arXiv:1409.1556, table 1: a plain network", {}),
    "zfnet": _Paper("Zeiler and Fergus 2014, arXiv:1311.2901: a plain network", {}),
}
"""What the architectures have, and where it is written."""

BUILDERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet-20, option A": partial(built.cifar_resnet, 3, "A"),
    "resnet-20, option B": partial(built.cifar_resnet, 3, "B"),
    **{f"resnet-{depth}": partial(built.imagenet_resnet, depth) for depth in built.IMAGENET},
    "preactivation": built.preactivation,
    "wide-resnet-10": partial(built.preactivation, 1, 2, True),
    "resnext-50": partial(built.imagenet_resnet, 50, 2),
    "se-resnet": built.se_resnet,
    "mobilenet-v2": built.mobilenet_v2,
    "efficientnet-b0": built.efficientnet_b0,
    "convnext-tiny": built.convnext,
    "unet": built.unet,
    "encoder-post-norm": partial(built.encoder, norm_first=False),
    "encoder-pre-norm": built.encoder,
    "encoder, mask fed": partial(built.encoder, mask="input"),
    "encoder, mask computed": partial(built.encoder, mask="ids"),
    "decoder": built.decoder,
    "decoder with a cache": partial(built.decoder, cache=True),
    "quartznet": built.quartznet,
    "inception-resnet": built.inception_resnet,
}
"""Graphs written with onnx.helper."""

PUBLISHED = {
    "alexnet": "bvlc_alexnet",
    "densenet-121": "densenet121",
    "inception-v1": "inception_v1",
    "inception-v2": "inception_v2",
    "resnet-50": "resnet50",
    "shufflenet": "shufflenet",
    "squeezenet": "squeezenet",
    "vgg-19": "vgg19",
    "zfnet": "zfnet512",
}
"""Graphs that come with onnx, their weights made by ConstantOfShape."""

_HEAVY = {"resnet-50", "resnet-101", "resnet-152", "resnext-50", "wide-resnet-50", "convnext-tiny", "resnet-34"}


def corpus() -> Iterator[Network]:
    for name, build in BUILDERS.items():
        yield _network(name, "onnx.helper", build, name not in _HEAVY)
    for name, file in PUBLISHED.items():
        yield _network(name, "onnx's own", partial(onnx.load, LIGHT / f"light_{file}.onnx"), name == "squeezenet")
    for path in sorted(EXPORTS.glob("*.onnx")):
        name, exporter = path.stem.rsplit(".", 1)
        load = partial(onnx.load, path, load_external_data=False)
        yield _network(name, f"PyTorch, {exporter}", load, name not in _HEAVY)


def _network(name: str, by: str, load: Callable[[], onnx.ModelProto], light: bool) -> Network:
    paper = PAPERS[name]
    return Network(f"{name} ({by})", paper.source, paper.skips, load, light)
