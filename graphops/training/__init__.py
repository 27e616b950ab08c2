"""Training of ONNX graphs by onnxruntime's training build, without torch.

from graphops.data import load
from graphops.training import TrainOptions, train
trained = train(model, load("cifar10"), TrainOptions(epochs=10), folder=Path("runs/first"))
"""

from graphops.training.options import TrainOptions
from graphops.training.progress import Progress, Trained
from graphops.training.trainer import train

__all__ = ["Progress", "TrainOptions", "Trained", "train"]
