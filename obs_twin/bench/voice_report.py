"""What `obs-twin bench voice` found, as a table for the terminal, CSV, JSON, plots, and one page to listen to."""

from __future__ import annotations

import csv
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from obs_twin.bench.extra import BenchError, require
from obs_twin.bench.page import page, rows_table
from obs_twin.bench.voice_bench import SCORES, SOURCE, VoiceResult, VoiceRow, median, pooled_wer

WORDS = {
    "wer": "WER",
    "wer_known": "WER, transcript",
    "wer_heard": "WER, heard",
    "target": "like target",
    "source": "like source",
    "distillmos": "distillMOS",
    "ovrl": "DNSMOS",
    "sig": "DNSMOS sig",
    "f0": "log F0 r",
    "envelope": "envelope r",
    "rtf": "RTF",
    "slowest": "slowest push",
    "lag": "lag",
}
COLUMNS = ("wer_known", "wer_heard", "target", "source", "distillmos", "ovrl", "f0", "envelope", "rtf")
PLOTTED = ("wer", "target", "source", "distillmos", "f0", "envelope")
QUIET_LIMIT_DBFS = -55.0


def table(result: VoiceResult) -> list[list[str]]:
    """Head and one line per condition: pooled word error rates, medians of the rest."""
    lines = [["", "clips", *(WORDS[name] for name in COLUMNS), WORDS["slowest"], WORDS["lag"]]]
    for condition in result.conditions:
        rows = result.of(condition)
        known = [row for row in rows if row.known_text]
        heard = [row for row in rows if not row.known_text]
        values: dict[str, float] = {score: median(rows, score) for score in SCORES}
        values["wer_known"] = pooled_wer(known) if known else math.nan
        values["wer_heard"] = pooled_wer(heard) if heard else math.nan
        slowest = max((row.slowest_ms for row in rows if not math.isnan(row.slowest_ms)), default=math.nan)
        lag = max((row.lag_ms for row in rows if not math.isnan(row.lag_ms)), default=math.nan)
        shown = [_figure(values[name]) for name in COLUMNS]
        lines.append([condition, str(len(rows)), *shown, _figure(slowest, 0, " ms"), _figure(lag, 0, " ms")])
    return lines


def speaker_table(result: VoiceResult) -> list[list[str]]:
    """Head and one line per speaker and condition: who is understood worst."""
    lines = [["speaker", "", "clips", "WER", *(WORDS[name] for name in PLOTTED[1:])]]
    speakers = sorted({row.speaker for row in result.rows})
    for speaker in speakers:
        for condition in result.conditions:
            rows = [row for row in result.of(condition) if row.speaker == speaker]
            figures = [_figure(pooled_wer(rows)), *(_figure(median(rows, name)) for name in PLOTTED[1:])]
            lines.append([speaker, condition, str(len(rows)), *figures])
    return lines


def write_report(result: VoiceResult, folder: Path, *, title: str, facts: Sequence[str]) -> Path:
    """Write `clips.csv`, `result.json`, `scores.png` (with matplotlib) and `index.html` into `folder`.

    Args:
        facts: lines for the head of the page: machine, twin, how it was run.

    Returns:
        The page.
    """
    _csv(result, folder / "clips.csv")
    document = {
        "facts": list(facts),
        "table": table(result),
        "quiet_dbfs": result.quiet_dbfs,
        "provider": result.provider,
        "clips": [asdict(row) for row in result.rows],
    }
    (folder / "result.json").write_text(json.dumps(_plain(document), indent=1), encoding="utf-8")
    plotted = _plot(result, folder / "scores.png")
    path = folder / "index.html"
    path.write_text(_html(result, title, facts, plotted), encoding="utf-8")
    return path


def quiet_lines(result: VoiceResult) -> list[str]:
    """What came out for sounds that are no speech."""
    return [
        f"{name}: {level:.0f} dBFS at its loudest ({'good' if level <= QUIET_LIMIT_DBFS else 'too loud'}, "
        f"at most {QUIET_LIMIT_DBFS:.0f} wanted)"
        for name, level in result.quiet_dbfs.items()
    ]


def _figure(value: float, digits: int = 2, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}{unit}"


def _csv(result: VoiceResult, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["clip", "condition", "seconds", *SCORES, "errors", "words", "slowest_ms", "heard", "reference"]
        )
        for row in result.rows:
            scores = [f"{row.value(score):.4f}" for score in SCORES]
            tail = [row.scores.errors, row.scores.words, f"{row.slowest_ms:.1f}", row.scores.text, row.reference]
            writer.writerow([row.clip, row.condition, f"{row.seconds:.2f}", *scores, *tail])


def _plain(item: Any) -> Any:
    """For JSON, which knows no NaN."""
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_plain(value) for value in item]
    return None if isinstance(item, float) and math.isnan(item) else item


def _plot(result: VoiceResult, path: Path) -> bool:
    """One panel per score, a point per clip, the median as a line; False without matplotlib."""
    try:
        figure_class = require("matplotlib.figure").Figure
    except BenchError:
        return False
    conditions = result.conditions
    figure = figure_class(figsize=(12, 5.5), layout="constrained")
    for place, score in enumerate(PLOTTED, 1):
        axes = figure.add_subplot(2, 3, place)
        for x, condition in enumerate(conditions):
            rows = result.of(condition)
            axes.plot([x] * len(rows), [row.value(score) for row in rows], "o", color="#5b8def", alpha=0.45, ms=5)
            axes.hlines(median(rows, score), x - 0.3, x + 0.3, color="#12233f", lw=2)
        axes.set_title(WORDS[score])
        axes.set_xticks(range(len(conditions)), conditions)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
    return True


def _html(result: VoiceResult, title: str, facts: Sequence[str], plotted: bool) -> str:
    body = [f"<p>{'<br>'.join(html.escape(fact) for fact in facts)}</p>", rows_table(table(result))]
    body.append(
        "<p>Word error rates are pooled, all else is the median over the clips. "
        '"Transcript": against what was really said. "Heard": against what Whisper base hears in the source. '
        "Likeness: Resemblyzer's cosine, about 0.9 for one person, 0.55 for two.</p>"
    )
    body.append(f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in quiet_lines(result))}</ul>")
    if plotted:
        body.append('<img src="scores.png" alt="scores by condition">')
    body.append(f"<h2>By speaker</h2>{rows_table(speaker_table(result))}")
    body.append("<h2>Listen</h2>")
    clips = dict.fromkeys(row.clip for row in result.rows)
    by_clip = {clip: [row for row in result.rows if row.clip == clip] for clip in clips}
    for clip, rows in sorted(by_clip.items(), key=lambda item: -max(row.scores.wer for row in item[1])):
        body.append(f"<h3>{html.escape(clip)}</h3><p><q>{html.escape(rows[0].reference)}</q></p>")
        body.append(f"<table>{''.join(_clip_line(row) for row in rows)}</table>")
    return page(title, "\n".join(body))


def _clip_line(row: VoiceRow) -> str:
    player = f'<audio controls preload="none" src="sounds/{html.escape(row.file)}"></audio>'
    names = ("wer", "distillmos") if row.condition == SOURCE else ("wer", "target", "source", "distillmos", "f0")
    figures = ", ".join(f"{WORDS[name]} {_figure(row.value(name))}" for name in names)
    return (
        f"<tr><td>{html.escape(row.condition)}</td><td>{player}</td><td>{figures}</td>"
        f"<td>{html.escape(row.scores.text)}</td></tr>"
    )
