"""A schema's timeline as an SVG picture: no script, no outside font, readable on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from vaultsync.cli.timeline import SAME, Row, Timeline
from vaultsync.view.words import clean, listing

__all__ = ["svg"]

_ROW: Final = 22
_GAP: Final = 12
"""Above each type."""
_TOP: Final = 78
_LEFT: Final = 24
_LETTER: Final = 7.0
"""Width of a letter at 13 pixels, roughly: what stands in a column is given room by it."""
_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_COLORS: Final = {
    "type": "#1f4e79",
    "field": "#4a90c2",
    "retired": "#a8b3bd",
    "on": "#c0602c",
    "text": "#22303c",
    "faint": "#6b7a86",
    "grid": "#e3e8ec",
    "here": "#eef4f9",
}


def svg(found: Timeline) -> str:
    """The picture, as text."""
    names = max((_width(_head(row)) for row in found.rows), default=0)
    kinds = max((_width(row.kind) for row in found.rows), default=0) if any(r.kind for r in found.rows) else 0
    step = max(64.0, max(_width(name) for name in found.names) + 24)
    start = _LEFT + names + kinds + 48
    words = max((_width(_words(row)) for row in found.rows), default=0)
    xs = [start + step * i for i in range(len(found.versions))]
    ys, y = {}, float(_TOP)
    for i, row in enumerate(found.rows):
        y += _GAP if row.is_type and i else 0
        ys[row.type, row.name, row.is_type] = y
        y += _ROW
    width, height = xs[-1] + 40 + words + _LEFT, y + 44
    places = _Places(found, xs, ys, _LEFT + names + 24)
    parts = [*_frame(found, xs, width, height, y)]
    for row in found.rows:
        parts += places.row(row)
    parts += _legend(height - 20)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="{_FONTS}" font-size="13">\n'
        f"<title>Timeline of {_text(found.title)}</title>\n{body}\n</svg>\n"
    )


def _frame(found: Timeline, xs: list[float], width: float, height: float, bottom: float) -> Iterator[str]:
    yield f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>'
    yield _label(_LEFT, 30, found.title, color="text", size=17, weight=600)
    for x, version, name in zip(xs, found.versions, found.names, strict=True):
        if version == found.here:
            yield (
                f'<rect x="{x - 24:.0f}" y="{_TOP - 40}" width="48" height="{bottom - _TOP + 44:.0f}" rx="6" '
                f'fill="{_COLORS["here"]}"/>'
            )
        yield _line(x, _TOP - 14, x, bottom, "grid", 1)
        weight = 600 if version == found.here else 400
        yield _label(x, _TOP - 22, name, color="text", anchor="middle", weight=weight)


class _Places:
    """Where rows and versions are, and what is drawn there."""

    def __init__(self, found: Timeline, xs: list[float], ys: dict[tuple[str, str, bool], float], kinds: float) -> None:
        self.found, self.xs, self.ys, self.kinds = found, xs, ys, kinds

    def row(self, row: Row) -> Iterator[str]:
        y = self.ys[row.type, row.name, row.is_type]
        color, weight = ("type", 600) if row.is_type else ("field", 400)
        yield _label(_LEFT + (0 if row.is_type else 14), y + 4, _head(row).strip(), color="text", weight=weight)
        if row.kind:
            yield _label(self.kinds, y + 4, row.kind, color="faint", size=12)
        x, last = self.x(row.since), self.xs[-1] + 14
        end = last if row.until is None else self.x(row.until)
        yield _line(x, y, end, y, color, 4 if row.is_type else 3)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if row.is_type else 4}" fill="{_COLORS[color]}"/>'
        if row.until is not None and row.to:
            yield from self.onward(row, end, y)
        elif row.until is not None:
            yield _line(end, y, last, y, "retired", 2, dash=True)
            yield (
                f'<circle cx="{end:.1f}" cy="{y:.1f}" r="4" fill="#ffffff" stroke="{_COLORS["retired"]}" '
                'stroke-width="2"/>'
            )
        if words := _words(row):
            yield _label(self.xs[-1] + 28, y + 4, words, color="on" if row.to else "faint", size=12)

    def onward(self, row: Row, x: float, y: float) -> Iterator[str]:
        """An arrow to each row that this one goes on as."""
        for name in row.to:
            target = self.ys.get((name, name, True) if row.is_type else (row.into, name, False))
            if target is None or row.how == SAME:
                continue  # what goes on under its own name needs no arrow
            bend = min(30.0, 10 + abs(target - y) / 8)
            stop = target - 6 if target > y else target + 6
            yield (
                f'<path d="M {x:.1f} {y:.1f} C {x + bend:.1f} {y:.1f} {x + bend:.1f} {stop:.1f} {x + 5:.1f} {stop:.1f}"'
                f' fill="none" stroke="{_COLORS["on"]}" stroke-width="1.5"/>'
            )
            yield f'<circle cx="{x + 5:.1f}" cy="{stop:.1f}" r="2" fill="{_COLORS["on"]}"/>'
        yield (
            f'<path d="M {x - 5:.1f} {y - 5:.1f} L {x + 4:.1f} {y:.1f} L {x - 5:.1f} {y + 5:.1f} Z" '
            f'fill="{_COLORS["on"]}"/>'
        )

    def x(self, version: int) -> float:
        return self.xs[self.found.column(version)]


def _legend(y: float) -> Iterator[str]:
    x = float(_LEFT)
    for kind, words in (("field", "there"), ("retired", "retired: read-only"), ("on", "goes on as")):
        if kind == "on":
            yield f'<path d="M {x + 8} {y - 9} L {x + 17} {y - 4} L {x + 8} {y + 1} Z" fill="{_COLORS["on"]}"/>'
        else:
            yield _line(x, y - 4, x + 22, y - 4, kind, 3 if kind == "field" else 2, dash=kind == "retired")
        yield _label(x + 30, y, words, color="faint", size=12)
        x += 30 + _width(words) + 26


def _line(x1: float, y1: float, x2: float, y2: float, color: str, width: float, *, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="2 4"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_COLORS[color]}" '
        f'stroke-width="{width}" stroke-linecap="round"{dashes}/>'
    )


def _label(
    x: float, y: float, text: str, *, color: str, size: int = 13, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_COLORS[color]}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{_text(text)}</text>'
    )


def _text(text: str) -> str:
    return escape(clean(text))


def _head(row: Row) -> str:
    return f"{row.label} ({row.name})" if row.is_type else f"  {row.name}"


def _words(row: Row) -> str:
    words = list(row.remarks)
    if row.to:
        place = f"{row.into}." if row.into not in ("", row.type) else ""
        words.insert(0, f"→ {listing([place + name for name in row.to], most=6)} ({row.how})")
    return ", ".join(words)


def _width(text: str) -> float:
    return len(text) * _LETTER
