"""One self-contained HTML page of results."""

from __future__ import annotations

import html
from collections.abc import Sequence

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.2rem; } h3 { margin-bottom: .2rem; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid #8884; vertical-align: middle; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.good td:last-child { color: #2a8a3e; } tr.bad td:last-child { color: #c0392b; }
img { max-width: 100%; height: auto; border-radius: 4px; }
audio { height: 34px; width: 260px; }
q { opacity: .75; }
"""


def page(title: str, body: str) -> str:
    """A whole page around `body`, which is HTML already."""
    name = html.escape(title)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>'
    return (
        f"<!doctype html>\n<html lang=en><head>{head}<style>{STYLE}</style></head>\n"
        f"<body><h1>{name}</h1>\n{body}\n</body></html>\n"
    )


def rows_table(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its head; cells that begin like a number stand to the right."""
    head = "".join(f"<th{_align(cell, number)}>{html.escape(cell)}</th>" for number, cell in enumerate(lines[0]))
    rows = []
    for line in lines[1:]:
        cells = "".join(f"<td{_align(cell, number)}>{html.escape(cell)}</td>" for number, cell in enumerate(line))
        rows.append(f"<tr>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """The same for a terminal."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = []
    for line in lines:
        cells = (
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def _align(cell: str, column: int) -> str:
    return ' class="number"' if column and (not cell or cell[0] in "0123456789-.+") else ""
