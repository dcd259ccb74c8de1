"""Curves as inline SVG: training and validation figures by epoch, in whatever colours a page has.

Text and axes take the page's own text colour, so that they are legible in the dark and in the
light. It draws lists of numbers and knows no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#3b82d6", "#d9822b", "#2f9e6e", "#b05cc6")
WIDTH, HEIGHT = 380, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 34, 34
TICKS = 5
FONT = "font-family='sans-serif' font-size='11' fill='currentColor'"
Curve = Sequence[float | None]


def curves(panels: Mapping[str, Mapping[str, Curve]]) -> str:
    """An SVG with a panel for each title, side by side, and in it a line for each named curve.

    A curve has a value for each epoch, from 1; where it is None or not finite, the line has a gap.
    Panels in which no curve has a value are left out.
    """
    drawn = {title: found for title, lines in panels.items() if (found := _known(lines))}
    width = WIDTH * max(len(drawn), 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}">'
    ]
    for number, (title, lines) in enumerate(drawn.items()):
        parts.append(f'<g transform="translate({number * WIDTH},0)">{_panel(title, lines)}</g>')
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers that span low to high."""
    if high <= low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    rough = (high - low) / (TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _known(lines: Mapping[str, Curve]) -> dict[str, Curve]:
    return {name: curve for name, curve in lines.items() if any(map(_is_number, curve))}


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _panel(title: str, lines: Mapping[str, Curve]) -> str:
    values = [v for curve in lines.values() for v in curve if v is not None and math.isfinite(v)]
    scale = ticks(min(values), max(values))
    epochs = max(map(len, lines.values()))

    def x(epoch: float) -> float:
        return LEFT + (epoch - 1) / max(epochs - 1, 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (value - scale[0]) / (scale[-1] - scale[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in scale:
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
            'stroke="currentColor" stroke-opacity="0.15"/>'
            f"<text x='{LEFT - 6}' y='{y(tick) + 4:.1f}' text-anchor='end' {FONT}>{tick:.4g}</text>"
        )
    for epoch in sorted({1, (epochs + 1) // 2, epochs}):
        parts.append(
            f"<text x='{x(epoch):.1f}' y='{HEIGHT - BOTTOM + 16}' text-anchor='middle' {FONT}>"
            f"{epoch}</text>"
        )
    for number, (name, curve) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(k + 1, v) for k, v in enumerate(curve)]
        for run in _runs(points):
            path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in run)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            parts += [
                f'<circle cx="{x(epoch):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}">'
                f"<title>{escape(name)}, epoch {epoch}: {value:.6g}</title></circle>"
                for epoch, value in run
            ]
        parts.append(
            f"<text x='{WIDTH - RIGHT - 90 * (len(lines) - 1 - number)}' y='{TOP - 18}' "
            f"text-anchor='end' {FONT.replace('currentColor', colour)}>{escape(name)}</text>"
        )
    parts.append(
        f"<text x='{LEFT}' y='{TOP - 18}' font-weight='bold' {FONT}>{escape(title)}</text>"
        f"<text x='{(LEFT + WIDTH - RIGHT) / 2:.0f}' y='{HEIGHT - 4}' text-anchor='middle' {FONT}>"
        "epoch</text>"
    )
    return "".join(parts)


def _runs(points: Sequence[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    """The points in runs without a gap."""
    runs: list[list[tuple[int, float]]] = [[]]
    for epoch, value in points:
        if value is not None and math.isfinite(value):
            runs[-1].append((epoch, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
