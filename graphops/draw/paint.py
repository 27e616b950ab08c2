"""Drawing what `layout` arranged, with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import onnx

from graphops.draw.layout import WEIGHTED, Bypass, Layout, arrange
from graphops.draw.region import Region

# One unit is the distance between two rows.
WIDTH, HEIGHT = 2.0, 0.64  # of a box
LANE = 0.9  # of a lane that holds a bare wire; one with boxes is as wide as they are
RADIUS = 0.5  # of a wire's corners
MARGIN = 0.3  # on each side of a drawing
LETTER = 0.135  # of a title, on average
INCHES = 0.55  # of one unit, where the page does not get longer than matplotlib can draw
LONGEST = 300.0

_COLOURS = {"weighted": "#cfe2f3", "activation": "#d9ead3", "join": "#f9cb9c", "other": "#eeeeee"}
_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "HardSigmoid", "PRelu", "Elu", "Tanh"})
_SHORT = {"BatchNormalization": "BN", "GlobalAveragePool": "GlobalAvgPool", "Relu": "ReLU", "Add": "+"}

Point = tuple[float, float]


def paint(regions: Sequence[Region], titles: Sequence[str], format: str) -> bytes:
    """``regions`` side by side, each under its title, as a file of ``format``: svg, png or pdf."""
    import matplotlib
    from matplotlib.figure import Figure

    layouts = [arrange(region) for region in regions]
    halves = [LETTER * len(title) / 2 for title in titles]
    lefts = [max(WIDTH / 2, half) + MARGIN for half in halves]
    rights = [max(_lane(layout, layout.lanes + 1), half) + MARGIN for layout, half in zip(layouts, halves, strict=True)]
    rows = max(len(layout.main) for layout in layouts)
    inches = min(INCHES, LONGEST / (rows + 2))
    width = sum(lefts) + sum(rights)
    figure = Figure(figsize=(width * inches, (rows + 1.5) * inches))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(-rows + 0.1, 1.6))
    axis.axis("off")
    x = 0.0
    for region, layout, title, left, right in zip(regions, layouts, titles, lefts, rights, strict=True):
        _Panel(axis, region, layout, x + left, 15 * inches).draw(title)
        x += left + right
    picture = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
    with matplotlib.rc_context({"svg.hashsalt": "graphops"}):  # the same picture is the same file
        figure.savefig(picture, format=format, metadata=metadata, dpi=150)
    return picture.getvalue()


def _lane(layout: Layout, lane: int) -> float:
    """How far right of the main path ``lane`` begins."""
    boxed = {bypass.lane for bypass in layout.bypasses if bypass.nodes}
    return WIDTH / 2 + sum(WIDTH + 0.4 if inner in boxed else LANE for inner in range(1, lane))


class _Panel:
    """One drawing, its main path at ``x``."""

    def __init__(self, axis: Any, region: Region, layout: Layout, x: float, size: float) -> None:
        self.axis, self.layout, self.x, self.size = axis, layout, x, size
        self.weights = {tensor.name: tuple(tensor.dims) for tensor in region.model.graph.initializer}
        self.constants = set(self.weights)
        for node in region.model.graph.node:
            if self.constants.issuperset(filter(None, node.input)):
                self.constants.update(node.output)

    def draw(self, title: str) -> None:
        """The title, the wires, and the boxes over them."""
        self._text(self.x, 1.15, title, fontsize=1.1 * self.size, weight="bold")
        for row in range(len(self.layout.main) + 1):
            self._wire([(self.x, 0.8 - row if row else 0.95), (self.x, HEIGHT / 2 - row)], "#444444", arrow=True)
        for bypass in self.layout.bypasses:
            self._bypass(bypass)
        for row, node in enumerate(self.layout.main):
            self._box(node, self.x, -row)

    def _bypass(self, bypass: Bypass) -> None:
        """Curves out of the main path's wire, down the lane, and back into the boxes that read it."""
        wide = WIDTH + 0.4 if bypass.nodes else LANE
        x = self.x + _lane(self.layout, bypass.lane) + wide / 2
        top = -0.5 - min(bypass.sources, default=-1)
        bottom = float(-max(bypass.targets, default=len(self.layout.main)))
        gap = (top - bottom) / (len(bypass.nodes) + 1)
        places = [top - gap * (number + 1) for number in range(len(bypass.nodes))]
        first, last = (places[0], places[-1]) if places else ((top + bottom) / 2,) * 2
        self._wire([(x, first), (x, last)], "#cc4125")
        for source in bypass.sources:
            self._wire([(self.x, -0.5 - source), (x, -0.5 - source), (x, first)], "#cc4125")
        for target in bypass.targets:
            edge = HEIGHT / 2 if self._is_join(self.layout.main[target]) else WIDTH / 2
            self._wire([(x, last), (x, -target), (self.x + edge, -target)], "#cc4125", arrow=True)
        for node, y in zip(bypass.nodes, places, strict=True):
            self._box(node, x, y)

    def _wire(self, points: list[Point], colour: str, arrow: bool = False) -> None:
        """A line through ``points``, its corner round where there are three."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        codes = [Path.MOVETO, Path.LINETO]
        if len(points) == 3:
            start, corner, end = points
            points = [start, _towards(corner, start), corner, _towards(corner, end), end]
            codes = [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO]
        style = "-|>" if arrow else "-"
        wire = FancyArrowPatch(
            path=Path(points, codes), arrowstyle=style, mutation_scale=self.size, color=colour, lw=1.4, zorder=2
        )
        self.axis.add_patch(wire)

    def _box(self, node: onnx.NodeProto, x: float, y: float) -> None:
        from matplotlib.patches import Circle, FancyBboxPatch

        kind = _kind(node) if not self._is_join(node) else "join"
        look: dict[str, Any] = {"facecolor": _COLOURS[kind], "edgecolor": "#666666", "zorder": 3}
        if kind == "join":
            self.axis.add_patch(Circle((x, y), HEIGHT / 2, **look))
        else:
            corner = (x - WIDTH / 2, y - HEIGHT / 2)
            self.axis.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.12", **look))
        self._text(x, y, self._label(node), va="center_baseline", fontsize=self.size, zorder=4)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.axis.text(x, y, text, ha="center", parse_math=False, **style)  # dollars in names are no formulae

    def _is_join(self, node: onnx.NodeProto) -> bool:
        """Whether two ways meet in an addition; an added constant is no way."""
        return node.op_type in ("Add", "Sum") and self.constants.isdisjoint(node.input)

    def _label(self, node: onnx.NodeProto) -> str:
        name = _SHORT.get(node.op_type, node.op_type)
        dims = self.weights.get(node.input[1], ()) if len(node.input) > 1 else ()
        if node.op_type == "Conv" and len(dims) > 2:
            kernel = "x".join(str(size) for size in dims[2:])
            return f"{name} {kernel}, {dims[0]}"
        return name


def _towards(corner: Point, point: Point) -> Point:
    """The point at which the rounding of ``corner`` begins, on the way to ``point``."""
    away = abs(point[0] - corner[0]) + abs(point[1] - corner[1])
    share = min(1.0, RADIUS / away) if away else 0.0
    return corner[0] + share * (point[0] - corner[0]), corner[1] + share * (point[1] - corner[1])


def _kind(node: onnx.NodeProto) -> str:
    if node.op_type in WEIGHTED:
        return "weighted"
    return "activation" if node.op_type in _ACTIVATIONS else "other"
