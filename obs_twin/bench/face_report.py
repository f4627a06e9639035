"""What `obs-twin bench face` found: a table for the terminal, JSON, strips of pictures, plots, and one page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.bench.extra import BenchError, require
from obs_twin.bench.face_bench import FaceScores, Strip
from obs_twin.bench.page import page, rows_table

Image = npt.NDArray[np.uint8]

STRIP_HEIGHT_PX = 360
COLUMNS = {
    "twin_target": ("twin-target", 3),
    "twin_target_p97": ("p97", 3),
    "twin_actor": ("twin-actor", 2),
    "actor_target": ("actor-target", 2),
    "below_0.6": ("below 0.6", 2),
    "nearer_target": ("nearer", 2),
    "identity_jump": ("jump", 2),
    "identity_jump_actor": ("actor's jump", 2),
    "expression": ("expression", 4),
    "eyes_r": ("blink r", 2),
    "eyes_depth": ("blink depth", 2),
    "mouth_r": ("mouth r", 2),
    "mouth_depth": ("mouth depth", 2),
    "gaze_r": ("gaze r", 2),
    "jitter_ratio": ("jitter", 2),
    "still": ("still", 2),
    "flicker": ("flicker", 2),
    "seam_forehead": ("seam top", 1),
    "seam_sides": ("sides", 1),
    "seam_jaw": ("jaw", 1),
    "seam_worst": ("worst", 1),
    "skin": ("skin dE", 1),
    "neck": ("neck dE", 1),
    "fine": ("fine", 2),
    "coarse": ("coarse", 2),
    "noise": ("noise", 2),
    "raw": ("raw", 3),
    "perceive_ms": ("perceive ms", 1),
    "perceive_p95_ms": ("  p95", 1),
    "smooth_ms": ("smooth ms", 1),
    "smooth_p95_ms": ("  p95", 1),
    "face_ms": ("face ms", 1),
    "face_p95_ms": ("  p95", 1),
    "total_ms": ("frame ms", 1),
    "total_p95_ms": ("  p95", 1),
    "fps": ("fps a core", 0),
    "as_is_total_ms": ("frame ms as is", 1),
    "as_is_total_p95_ms": ("  p95", 1),
}
"""Score: (head of its column, decimals)."""
STRESS_SHOWN = (
    "kept", "kept_worst", "skin", "skin_worst", "skin_start", "twin_target", "twin_target_p97", "seam_worst", "raw",
)  # fmt: skip
MEANINGS = (
    "Distances are those of dlib's face embedding: below 0.6 is taken for one person. Jump: the largest step from one "
    "frame to the next. Expression: mean error of the landmarks re-detected on the twin, shape taken out, as a share "
    "of the distance between the pupils. Blink, mouth, gaze: correlation of the twin's curve with the actor's; "
    "depth: how far it goes, over how far the actor's does. "
    "Jitter: movement quicker than 0.2 s, twin over actor; still: the same for an actor who does not move. Flicker: "
    "changes of skin colour in time, twin over actor. Seam: how much more the colour jumps through the outline than on "
    "the actor's own face (Lab units, 3 is seen). Skin and neck: Lab distance of the twin's skin from the actor's own. "
    "Fine, coarse, noise: detail of 1 to 2 and of 2 to 4 pixels, and grain, twin over actor. Raw: share of the inner "
    "face that still is the camera's. Times are CPU time at 1280x720, all threads; as is: in the clip's "
    "own size."
)


@dataclass(frozen=True)
class Goal:
    """One thing to reach, read off the median over the clips."""

    text: str
    score: str
    good: Callable[[float], bool]
    over: Callable[[Sequence[float]], float] = lambda values: float(np.median(values))


GOALS = (
    Goal("distance twin to target at most 0.40 (median of the clips)", "twin_target", lambda v: v <= 0.40),
    Goal("below 0.6 in 97 % of the frames", "below_0.6", lambda v: v >= 0.97),
    Goal("always nearer to the target than to the actor", "nearer_target", lambda v: v >= 1.0, min),
    Goal("expression error at most 5 % of the distance between the pupils", "expression", lambda v: v <= 0.05),
    Goal("blinks correlate at least 0.9", "eyes_r", lambda v: v >= 0.9),
    Goal("mouth opening correlates at least 0.9", "mouth_r", lambda v: v >= 0.9),
    Goal("no identity jump: at most 0.1 more than the actor's own", "identity_jump_more", lambda v: v <= 0.1, max),
    Goal("landmark jitter at most the actor's own", "jitter_ratio", lambda v: v <= 1.0),
    Goal("a still actor gives a still twin (at most the actor's own jitter)", "still", lambda v: v <= 1.0),
    Goal("at most 12 ms a frame, median", "total_ms", lambda v: v <= 12.0),
    Goal("at most 18 ms a frame, 95th percentile", "total_p95_ms", lambda v: v <= 18.0),
)


def score_table(results: Sequence[FaceScores]) -> list[list[str]]:
    """Head, one line per clip, and the median over the clips."""
    lines = [["clip", *(head for head, _ in COLUMNS.values())]]
    for result in results:
        lines.append(
            [result.clip, *(_figure(result.scores.get(name, math.nan), d) for name, (_, d) in COLUMNS.items())]
        )
    if len(results) > 1:
        medians = (_figure(_median(results, name), digits) for name, (_, digits) in COLUMNS.items())
        lines.append(["median", *medians])
    return lines


def goal_lines(results: Sequence[FaceScores]) -> list[tuple[bool, str]]:
    """(reached, in words) for each goal that could be measured."""
    lines = []
    for goal in GOALS:
        values = [v for r in results if not math.isnan(v := r.scores.get(goal.score, math.nan))]
        if values:
            value = goal.over(values)
            lines.append((goal.good(value), f"{goal.text}: {value:.3g}"))
    return lines


def stress_lines(results: Sequence[FaceScores]) -> list[str]:
    """The hard cases in one line each."""
    shown = []
    for result in results:
        names: list[str] = [name for name in STRESS_SHOWN if name in result.scores]
        names += ["no_face"] if result.scores.get("no_face") else []
        shown.append(f"{result.clip}: " + ", ".join(f"{name} {result.scores[name]:.3g}" for name in names))
    return shown


def write_face_report(
    clips: Sequence[FaceScores], stress: Sequence[FaceScores], folder: Path, *, title: str, facts: Sequence[str]
) -> Path:
    """Write `result.json`, the strips, `curves.png` (with matplotlib) and `index.html` into `folder`.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "facts": list(facts),
        "clips": [{"clip": r.clip, "frames": r.frames, "scores": _plain(r.scores)} for r in clips],
        "stress": [{"clip": r.clip, "frames": r.frames, "scores": _plain(r.scores)} for r in stress],
    }
    (folder / "result.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    body = [f"<p>{'<br>'.join(html.escape(fact) for fact in facts)}</p>"]
    goals = goal_lines(clips)
    marks = "".join(
        f'<tr class="{"good" if reached else "bad"}"><td>{html.escape(text)}</td>'
        f"<td>{'reached' if reached else 'not yet'}</td></tr>"
        for reached, text in goals
    )
    body.append(f"<table>{marks}</table>")
    table = score_table(clips)
    body += [f'<div style="overflow-x:auto">{rows_table(_turned(table))}</div>', f"<p>{MEANINGS}</p>"]
    for number, result in enumerate(clips):
        body.append(f"<h2>{html.escape(result.clip)}</h2>")
        body += _strips(result, folder, f"clip{number}")
        if _plot(result, folder / f"clip{number}_curves.png"):
            body.append(f'<img src="clip{number}_curves.png" alt="curves over time">')
    for number, (result, line) in enumerate(zip(stress, stress_lines(stress), strict=True)):
        body.append(f"<h2>{html.escape(result.clip)}</h2><p>{html.escape(line)}</p>")
        body += _strips(result, folder, f"stress{number}")
    path = folder / "index.html"
    path.write_text(page(title, "\n".join(body)), encoding="utf-8")
    return path


def strip_picture(strip: Strip) -> Image:
    """The camera's pictures above, the twin's below."""
    columns = []
    for (frame, output), label in zip(strip.pairs, strip.labels, strict=True):
        size = (round(STRIP_HEIGHT_PX * frame.shape[1] / frame.shape[0]), STRIP_HEIGHT_PX)
        shrinks = frame.shape[0] > STRIP_HEIGHT_PX
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        both = np.vstack([cv2.resize(picture, size, interpolation=way) for picture in (frame, output)])
        cv2.rectangle(both, (0, both.shape[0] - 22), (11 * len(label) + 12, both.shape[0]), (0, 0, 0), -1)
        place = (6, both.shape[0] - 6)
        cv2.putText(both, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        columns.append(np.asarray(both, np.uint8))
    return np.hstack(columns)


def _strips(result: FaceScores, folder: Path, name: str) -> list[str]:
    shown = []
    for what, strip in result.strips.items():
        file, whole = f"{name}_{what}.jpg", f"{name}_{what}_full.png"
        _, encoded = cv2.imencode(".jpg", strip_picture(strip), [cv2.IMWRITE_JPEG_QUALITY, 93])
        (folder / file).write_bytes(encoded.tobytes())
        _, encoded = cv2.imencode(".png", np.hstack(strip.whole))
        (folder / whole).write_bytes(encoded.tobytes())
        shown.append(f'<img src="{file}" alt="{html.escape(what)}: the camera above, the twin below">')
        shown.append(f'<p><a href="{whole}">one of them at full size</a></p>')
    return shown


def _plot(result: FaceScores, path: Path) -> bool:
    """The actor's and the twin's curves, and the distance to the target; False without matplotlib."""
    try:
        figure_class = require("matplotlib.figure").Figure
    except BenchError:
        return False
    panels = [*result.curves.items(), ("distance to the target", (result.identity[1], result.identity[0]))]
    figure = figure_class(figsize=(12, 2.6), layout="constrained")
    for place, (name, (actor, twin)) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.plot(actor, color="#8a94a6", lw=1.5, label="actor")
        axes.plot(twin, color="#d1495b", lw=1.2, label="twin")
        axes.set_title(name)
        axes.grid(alpha=0.25)
        if place == 1:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=100)
    return True


def _turned(table: list[list[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*table, strict=True)]


def _median(results: Sequence[FaceScores], name: str) -> float:
    values = [v for r in results if not math.isnan(v := r.scores.get(name, math.nan))]
    return float(np.median(values)) if values else math.nan


def _figure(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _plain(scores: dict[str, float]) -> dict[str, Any]:
    return {name: None if math.isnan(value) else round(value, 5) for name, value in scores.items()}
