"""The corpus's networks in PyTorch, with few channels; torchvision's own code where it has the network.

Needs torch 2.13 and torchvision 0.28, in an environment of their own: see export.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# The wheel in an index is built for CUDA and does not load its operators beside a torch without it; none is needed.
_register = torch.library.register_fake
torch.library.register_fake = lambda op, *rest, **more: (  # type: ignore[assignment]
    (lambda made: made) if str(op).startswith("torchvision::") else _register(op, *rest, **more)
)
from torchvision.models import ConvNeXt, EfficientNet, MobileNetV2, ResNet  # noqa: E402
from torchvision.models.convnext import CNBlockConfig  # noqa: E402
from torchvision.models.efficientnet import _efficientnet_conf  # noqa: E402
from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: E402

IMAGE, SMALL_IMAGE = (3, 64, 64), (3, 16, 16)
WIDTH, TOKENS = 16, 6


class NarrowResNet(ResNet):
    """torchvision's, its stages an eighth as wide."""

    def __init__(self, block: type, layers: list[int], **more: int) -> None:
        super().__init__(block, layers, num_classes=10, **more)
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(64 * block.expansion, 10)

    def _make_layer(self, block: type, planes: int, *rest: object, **more: object) -> nn.Sequential:
        if planes == 64:  # the first stage
            self.inplanes = 8
        return super()._make_layer(block, planes // 8, *rest, **more)


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class PreActivation(nn.Module):
    """A block of He et al. 2016, wide as Zagoruyko and Komodakis 2016 make it with dropout."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        changes = stride > 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.bn1(x))
        main = self.conv2(self.dropout(torch.relu(self.bn2(self.conv1(active)))))
        return main + (x if self.shortcut is None else self.shortcut(active))


class SqueezeExcite(nn.Module):
    """A basic block of Hu et al. 2018."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs, relu=False))
        self.fc1, self.fc2 = nn.Linear(outputs, outputs // 2), nn.Linear(outputs // 2, outputs)
        changes = stride > 1 or inputs != outputs
        self.shortcut = conv_bn(inputs, outputs, 1, stride, relu=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.main(x)
        gates = torch.sigmoid(self.fc2(torch.relu(self.fc1(y.mean((2, 3))))))
        return torch.relu(y * gates[:, :, None, None] + self.shortcut(x))


def classifier(stem: nn.Module, blocks: list[nn.Module], channels: int) -> nn.Sequential:
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def preactivation(widen: int, blocks: int, dropout: float = 0.0) -> nn.Module:
    made: list[nn.Module] = []
    channels = 4
    for stage in range(3):
        for block in range(blocks):
            width = (4 << stage) * widen
            made.append(PreActivation(channels, width, 2 if stage and not block else 1, dropout))
            channels = width
    return classifier(nn.Conv2d(3, 4, 3, 1, 1, bias=False), [*made, nn.BatchNorm2d(channels), nn.ReLU()], channels)


def se_resnet() -> nn.Module:
    blocks = [SqueezeExcite(*shape) for shape in ((4, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1))]
    return classifier(conv_bn(3, 4), blocks, 8)


class UNet(nn.Module):
    """Ronneberger et al. 2015, its concatenations replaced by sums as in LinkNet."""

    def __init__(self, levels: int = 2) -> None:
        super().__init__()
        widths = [4 << level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn(before, width), conv_bn(width, width))
            for before, width in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:-1])
        self.after = nn.ModuleList(nn.Sequential(conv_bn(w, w), conv_bn(w, w)) for w in widths[:-1])
        self.out = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        encoded = []
        for level, down in enumerate(self.down):
            x = down(x if level == 0 else nn.functional.max_pool2d(x, 2))
            encoded.append(x)
        for up, after, skip in reversed(list(zip(self.up, self.after, encoded, strict=False))):
            x = after(up(x) + skip)
        return self.out(x)


class Encoder(nn.Module):
    """Vaswani et al. 2017, by torch.nn's own layers."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True, norm_first=norm_first)
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.embedding(ids))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        layer = nn.TransformerDecoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, 2, nn.LayerNorm(WIDTH))

    def forward(self, ids: Tensor, memory: Tensor) -> Tensor:
        return self.layers(self.embedding(ids), memory)


class Quartz(nn.Module):
    """A block of Kriman et al. 2020: time-channel separable convolutions, bridged by a pointwise one."""

    def __init__(self, inputs: int, outputs: int, repeats: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for i in range(repeats):
            depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width, bias=False)
            layers += [depthwise, nn.Conv1d(width, outputs, 1, bias=False), nn.BatchNorm1d(outputs)]
            layers += [nn.ReLU()] if i < repeats - 1 else []
            width = outputs
        self.main = nn.Sequential(*layers)
        self.bridge = nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.bridge(x))


def quartznet() -> nn.Module:
    stem = nn.Sequential(nn.Conv1d(4, 4, 5, 2, 2, bias=False), nn.BatchNorm1d(4), nn.ReLU())
    return nn.Sequential(stem, Quartz(4, 6), Quartz(6, 6), Quartz(6, 8), nn.Conv1d(8, 5, 1))


class InceptionBlock(nn.Module):
    """Szegedy et al. 2016, figures 10 and 11: branches, concatenation, a linear 1x1, scaled down before the join."""

    def __init__(self, channels: int, branches: list[list[int]]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(conv_bn(channels if i == 0 else 2, 2, kernel) for i, kernel in enumerate(kernels)))
            for kernels in branches
        )
        self.up = nn.Conv2d(2 * len(branches), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + 0.17 * self.up(torch.cat([branch(x) for branch in self.branches], 1)))


def inception_resnet() -> nn.Module:
    a, b = [[1], [1, 3], [1, 3, 3]], [[1], [1, 7]]
    return classifier(conv_bn(3, 6), [InceptionBlock(6, kinds) for kinds in (a, a, b, b)], 6)


def efficientnet() -> nn.Module:
    settings, last = _efficientnet_conf("efficientnet_b0", width_mult=0.5, depth_mult=1.0)
    return EfficientNet(settings, 0.2, num_classes=10, last_channel=last)


def convnext() -> nn.Module:
    widths = (4, 8, 12, 16, None)
    return ConvNeXt([CNBlockConfig(w, after, n) for w, after, n in zip(widths, widths[1:], (3, 3, 9, 3), strict=False)])  # type: ignore[arg-type]


def image(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(1, *shape),)


def ids() -> tuple[Tensor, ...]:
    return (torch.randint(0, 10, (1, TOKENS)),)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    "resnet-18": (lambda: NarrowResNet(BasicBlock, [2, 2, 2, 2]), image(*IMAGE)),
    "resnet-50": (lambda: NarrowResNet(Bottleneck, [3, 4, 6, 3]), image(*IMAGE)),
    "resnet-152": (lambda: NarrowResNet(Bottleneck, [3, 8, 36, 3]), image(*IMAGE)),
    "resnext-50": (
        lambda: NarrowResNet(Bottleneck, [3, 4, 6, 3], groups=4, width_per_group=32),
        image(*IMAGE),
    ),
    "wide-resnet-50": (lambda: NarrowResNet(Bottleneck, [3, 4, 6, 3], width_per_group=128), image(*IMAGE)),
    "preactivation": (lambda: preactivation(1, 2), image(*SMALL_IMAGE)),
    "wide-resnet-10": (lambda: preactivation(2, 1, 0.3), image(*SMALL_IMAGE)),
    "se-resnet": (se_resnet, image(*SMALL_IMAGE)),
    "mobilenet-v2": (lambda: MobileNetV2(10, width_mult=0.5), image(*IMAGE)),
    "efficientnet-b0": (efficientnet, image(*IMAGE)),
    "convnext-tiny": (convnext, image(*IMAGE)),
    "unet": (UNet, image(*SMALL_IMAGE)),
    "encoder-post-norm": (lambda: Encoder(False), ids),
    "encoder-pre-norm": (lambda: Encoder(True), ids),
    "decoder": (Decoder, lambda: (*ids(), torch.randn(1, 5, WIDTH))),
    "quartznet": (quartznet, image(4, 32)),
    "inception-resnet": (inception_resnet, image(*SMALL_IMAGE)),
}
"""By name: what builds the network, and what it is traced with."""
