"""`simenv gallery`: a page, a GIF and a thumbnail per task, played from the baselines."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from agents.baselines import load_baseline, replaying
from agents.options import Gallery
from agents.recording import frames
from simenv.envs.functional import Functional
from simenv.envs.task import Task, load_task
from simenv.listing import load_scores
from simenv.registry import FAMILIES, TaskSpec, find
from simenv.render import write_gif

MOST_FRAMES = 80
"""Frames of a GIF; longer episodes leave some out."""


def draw(options: Gallery) -> Iterator[Path]:
    """Write pictures and pages; yields every path once it is written."""
    specs = [find(task_id) for task_id in options.ids] or list(FAMILIES)
    for spec in specs:
        yield from _pictures(spec, options)
        yield _write(options.out / "tasks" / f"{spec.family}.md", page(spec))
    yield _write(options.out / "gallery.md", index())


def _pictures(spec: TaskSpec, options: Gallery) -> Iterator[Path]:
    folder = options.out / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    functional = Functional(spec.id, device=options.device)
    player = replaying(functional, load_baseline(spec.id))
    seen = list(frames(functional, player, 0, options.width))
    step = -(-len(seen) // MOST_FRAMES)
    gif, thumbnail = folder / f"{spec.family}.gif", folder / f"{spec.family}.png"
    write_gif(gif, seen[::step], fps=min(50.0, 1 / (functional.task.scene.step * step)))
    yield gif
    Image.fromarray(seen[len(seen) // 2]).save(thumbnail)
    yield thumbnail


# ------------------------------------------------------------------------------- pages


def page(spec: TaskSpec) -> str:
    """A task's page: picture, table of facts, and the class docstring."""
    task = load_task(spec.task)
    title, _, text = (inspect.getdoc(type(task)) or "").partition("\n")
    parts = [
        f"# {spec.family}",
        f"![{spec.summary}](../images/gallery/{spec.family}.gif)",
        title,
        _facts(spec, task),
        f"```\n{command(spec)}\n```",
        text.strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(spec: TaskSpec, task: Task) -> str:
    scene, score = task.scene, load_scores().get(spec.family, {})
    rows = {
        "ids": ", ".join(f"`{row.id}`" for row in spec.variants()),
        "action space": f"`Box(-1, 1, ({spec.action},), float32)`",
        "observation space": f"`Box(-10, 10, ({spec.observation},), float32)`",
        "episode": f"{spec.horizon} steps of {scene.step:g} s",
        "small size": f"{scene.num_particles} particles, {' × '.join(map(str, scene.cells))} "
        f"cells, {scene.substeps} substeps",
        "suite, difficulty": f"{spec.suite}, {spec.difficulty}",
    }
    if spec.cost_limit is not None:
        rows["suggested cost limit"] = f"{spec.cost_limit:g} per episode"
    for name, row in score.items():
        rows[f"return, {name}"] = (
            f"{row['return_mean']:.1f} ± {row['return_std']:.1f}, "
            f"success {row['success_rate']:.0%} (seeds 0 to 4)"
        )
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def command(spec: TaskSpec) -> str:
    """The exact command that made the baseline which the picture shows, and the picture."""
    last = f"simenv gallery {spec.id}"
    if type(load_task(spec.task)).script is not Task.script:
        return f"simenv baseline {spec.id} && {last}"
    run = f"runs/{spec.family}"
    found = f"simenv optimise {spec.id} --out {run}"
    return f"{found} && simenv baseline {spec.id} --run {run} && {last}"


def index() -> str:
    """The gallery: every task by family."""
    parts = [
        "# Gallery",
        "Every picture plays the task's baseline from seed 0; the command below it makes both. "
        "`simenv list` prints the same tasks as a table.",
    ]
    for suite in dict.fromkeys(spec.suite for spec in FAMILIES):
        parts.append(f"## {suite.capitalize()}")
        parts += [_entry(spec) for spec in FAMILIES if spec.suite == suite]
    return "\n\n".join(parts) + "\n"


def _entry(spec: TaskSpec) -> str:
    link = f"[{spec.family}](tasks/{spec.family}.md)"
    return (
        f"### {link}\n\n![{spec.family}](images/gallery/{spec.family}.gif)\n\n"
        f"{spec.summary[0].upper()}{spec.summary[1:]}.\n\n```\n{command(spec)}\n```"
    )


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
