"""Small plots as SVG, without a plotting library."""
from __future__ import annotations

import math
from array import array
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 380, 60, 50, 40
COLOURS = ("#1b6ca8", "#2a9d3a", "#c0392b", "#8e44ad")


def _page(path: Path, title: str, body: list[str], names: list[str]) -> None:
    legend = [f'<text x="{WIDTH - 170}" y="{TOP + 18 * i}" fill="{COLOURS[i]}">{name}</text>' for i, name in enumerate(names)]
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
                    f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="20" font-size="14">{title}'
                    f'</text>{"".join(body)}{"".join(legend)}</svg>\n', encoding="utf-8")


def _line(points: list[tuple[float, float]], colour: str) -> str:
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def cdf(path: Path, title: str, series: dict[str, array]) -> None:
    """Latencies in ns; time on a logarithmic axis, and nines upwards: 90, 99, 99.9 %, ..."""
    ordered = {name: sorted(values) for name, values in series.items() if values}
    low = math.log10(max(1, min(values[0] for values in ordered.values())))
    high = math.log10(max(values[-1] for values in ordered.values())) + 0.05
    nines = 4.0

    def x(ns: float) -> float:
        return LEFT + (math.log10(max(1, ns)) - low) / (high - low) * (WIDTH - LEFT - 20)

    def y(part: float) -> float:
        return HEIGHT - BOTTOM - min(nines, -math.log10(max(1e-9, 1 - part))) / nines * (HEIGHT - BOTTOM - TOP)

    body = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        body.append(f'<line x1="{x(10 ** power):.1f}" x2="{x(10 ** power):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                    f'<text x="{x(10 ** power) - 14:.1f}" y="{HEIGHT - BOTTOM + 16}">{10 ** power / 1000:g} us</text>')
    for part in (0, 0.9, 0.99, 0.999, 0.9999):
        body.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(part):.1f}" y2="{y(part):.1f}" stroke="#ddd"/>'
                    f'<text x="4" y="{y(part) + 4:.1f}">{100 * part:g} %</text>')
    for i, values in enumerate(ordered.values()):
        picks = sorted({*(int(len(values) * (1 - 10 ** (-k / 25))) for k in range(101)), 0, len(values) - 1})
        body.append(_line([(x(values[p]), y(p / len(values))) for p in picks if p < len(values)], COLOURS[i]))
    _page(path, title, body, list(ordered))


def shares_over_time(path: Path, title: str, series: list[dict[int, float]]) -> None:
    names = list(series[0])
    body = [f'<text x="4" y="{HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP) + 4:.1f}">{100 * part:g} %</text>'
            f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP):.1f}" '
            f'y2="{HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP):.1f}" stroke="#ddd"/>' for part in (0, 0.25, 0.5, 0.75, 1)]
    step = (WIDTH - LEFT - 20) / max(1, len(series) - 1)
    for i, name in enumerate(names):
        body.append(_line([(LEFT + k * step, HEIGHT - BOTTOM - sample[name] * (HEIGHT - BOTTOM - TOP))
                           for k, sample in enumerate(series)], COLOURS[i]))
    _page(path, title, body, [f"weight {name}" for name in names])


def bars(path: Path, title: str, rows: list[tuple[str, float, float]]) -> None:
    """A bar a row, from 0 to 1.5, and a mark where it should end."""
    name_width, step = 300, (HEIGHT - TOP - 10) / max(1, len(rows))
    scale = (WIDTH - name_width - 60) / 1.5
    body = []
    for i, (name, length, mark) in enumerate(rows):
        top = TOP + i * step
        colour = COLOURS[1] if length <= mark else COLOURS[0]
        body.append(f'<text x="4" y="{top + step * .6:.1f}">{name}</text>'
                    f'<rect x="{name_width}" y="{top:.1f}" width="{min(length, 1.5) * scale:.1f}" height="{step * .7:.1f}" fill="{colour}"/>'
                    f'<line x1="{name_width + mark * scale:.1f}" x2="{name_width + mark * scale:.1f}" y1="{top - 2:.1f}" '
                    f'y2="{top + step * .7 + 2:.1f}" stroke="{COLOURS[2]}" stroke-width="2"/>'
                    f'<text x="{name_width + min(length, 1.5) * scale + 6:.1f}" y="{top + step * .6:.1f}">{length:.2f}</text>')
    _page(path, title, body, [])
