"""What every data set is: images and labels in two splits, the classes' names and a normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphops.data.normalisation import Normalisation
from passes.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        images: [N, C, H, W], uint8 as stored, or float32 where the source holds floats.
        labels: int64 [N], the class of each image.

    Raises:
        UserError: when the shapes disagree or there is no image.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            shape = list(self.images.shape)
            raise UserError(f"Images must be uint8 or float32 [N, C, H, W], not {self.images.dtype} {shape}.")
        if self.labels.shape != self.images.shape[:1]:
            shape = list(self.labels.shape)
            raise UserError(f"There are {len(self.images)} images but labels {shape}; give one label an image.")
        if not len(self.images):
            raise UserError("A split without images is of no use; give at least one image.")

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Split:
        """The first ``count`` images (all of them for ``None``)."""
        return self if count is None else Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set for training and evaluation.

    Attributes:
        name: what a person calls it.
        train: the images to learn from.
        test: the images to score.
        classes: a name for every label.
        normalisation: what turns stored images into floats unless a person or the model says otherwise.

    Raises:
        UserError: when a label has no class, or the splits' images differ in shape or type.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    normalisation: Normalisation

    def __post_init__(self) -> None:
        train, test = self.train.images, self.test.images
        if (train.shape[1:], train.dtype) != (test.shape[1:], test.dtype):
            raise UserError(
                f"{self.name}: training images are {_describe(train)} and test images {_describe(test)}; "
                "make them alike."
            )
        for which in ("train", "test"):
            labels = self.split(which).labels
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
            if wrong.size:
                raise UserError(
                    f"{self.name}: {which} image {wrong[0]} has label {labels[wrong[0]]}, but labels go "
                    f"from 0 to {len(self.classes) - 1}; mend the labels."
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def split(self, name: str) -> Split:
        """The split called ``"train"`` or ``"test"``.

        Raises:
            UserError: for any other name.
        """
        if name not in ("train", "test"):
            raise UserError(f"{self.name} has no split {name!r}; take 'train' or 'test'.")
        return self.train if name == "train" else self.test


def _describe(images: np.ndarray) -> str:
    return f"{images.dtype} {'x'.join(str(size) for size in images.shape[1:])}"


def divide(images: np.ndarray, labels: np.ndarray) -> tuple[Split, Split]:
    """Divide images into train and test, three to one, each class in the same proportion, always in the same way.

    Raises:
        UserError: when a class has a single image, or there are too few images for their classes.
    """
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    except ValueError as error:
        raise UserError(
            f"{len(labels)} images of {len(np.unique(labels))} classes cannot be divided into train and test "
            "with each class in both; give more images a class, or two splits of your own."
        ) from error
    return Split(images[train], labels[train]), Split(images[test], labels[test])
