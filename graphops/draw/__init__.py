"""Pictures of networks, or of a block of several side by side: the main path downwards, skip connections as arcs."""

from graphops.draw.paint import paint
from graphops.draw.region import Block, Region, around_skip, between, block_of, whole

__all__ = ["Block", "Region", "around_skip", "between", "block_of", "paint", "whole"]
