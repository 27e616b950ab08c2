"""Residual networks for small images, built straight into ONNX with no training framework.

from graphops.models import build
model = build("resnet20", classes=10, image=(3, 32, 32), shortcut="A", seed=0)
"""

from graphops.models.build import build
from graphops.models.resnet import nonresnet, resnet, shortresnet

__all__ = ["build", "nonresnet", "resnet", "shortresnet"]
