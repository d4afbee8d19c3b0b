"""The table of tasks, and their registration with Gymnasium. Imports neither torch nor Warp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import gymnasium

from simenv.errors import UnknownTaskError

PREFIX = "simenv/"


@dataclass(frozen=True)
class TaskSpec:
    """One row of `simenv list`.

    Attributes:
        id: Gymnasium id.
        task: where the `Task` class lives, "module:Class".
        horizon: environment steps per episode.
        action: size of the action vector.
        observation: size of the observation vector; of a goal variant, without the goals.
        summary: one line on what is to be done.
        suite: family of tasks that it belongs to.
        difficulty: "easy", "medium" or "hard", for a learner that starts from nothing.
        cost_limit: suggested bound on an episode's cost, for the safe variant; None: it has none.
        goal: size G of the goal, for the goal variant; 0: it has none.
        variant: None, "safe" (`info["cost"]`) or "goal" (dictionary observations).
    """

    id: str
    task: str
    horizon: int
    action: int
    observation: int
    summary: str
    suite: str
    difficulty: str
    cost_limit: float | None = None
    goal: int = 0
    variant: str | None = None

    @property
    def family(self) -> str:
        """The id without namespace, variant and version."""
        name = self.id.removeprefix(PREFIX).rpartition("-v")[0]
        return name.removesuffix(f"-{(self.variant or '').capitalize()}")

    def variants(self) -> list[TaskSpec]:
        """This row, and those of its safe and goal variants where it has them."""
        rows = [self]
        if self.cost_limit is not None:
            rows.append(self._variant("safe", self.observation))
        if self.goal:
            rows.append(self._variant("goal", self.observation - self.goal))
        return rows

    def _variant(self, variant: str, observation: int) -> TaskSpec:
        stem, _, version = self.id.rpartition("-v")
        name = f"{stem}-{variant.capitalize()}-v{version}"
        return replace(self, id=name, variant=variant, observation=observation)


FAMILIES = (
    TaskSpec(
        id="simenv/SoftWalker2D-v0",
        task="tasks.locomotion:SoftWalker2D",
        horizon=80,
        action=4,
        observation=30,
        summary="walk forward on four muscles: 0.3 m in 4 s",
        suite="locomotion",
        difficulty="easy",
        cost_limit=20.0,
    ),
    TaskSpec(
        id="simenv/SoftJumper-v0",
        task="tasks.jumping:SoftJumper",
        horizon=80,
        action=4,
        observation=30,
        summary="jump forward on four muscles: lift the centre of mass by 0.1 m",
        suite="locomotion",
        difficulty="medium",
        cost_limit=8.0,
    ),
    TaskSpec(
        id="simenv/SoftCrawler3D-v0",
        task="tasks.crawling:SoftCrawler3D",
        horizon=80,
        action=16,
        observation=38,
        summary="crawl forward on sixteen muscles: 0.5 m in 4 s",
        suite="locomotion",
        difficulty="medium",
        cost_limit=20.0,
    ),
    TaskSpec(
        id="simenv/FingerReach2D-v0",
        task="tasks.reaching:FingerReach2D",
        horizon=15,
        action=2,
        observation=14,
        summary="bend a soft finger until its tip rests at a goal, within 0.02 m",
        suite="reaching",
        difficulty="easy",
        cost_limit=0.3,
        goal=2,
    ),
    TaskSpec(
        id="simenv/ArmReach3D-v0",
        task="tasks.reaching:ArmReach3D",
        horizon=20,
        action=12,
        observation=27,
        summary="bend a soft arm until its tip rests at a goal in space, within 0.02 m",
        suite="reaching",
        difficulty="medium",
        cost_limit=0.3,
        goal=3,
    ),
    TaskSpec(
        id="simenv/LatteStir-v0",
        task="tasks.stirring:LatteStir",
        horizon=150,
        action=2,
        observation=805,
        summary="draw a figure in milk with a stirrer: 10 % of the idle error",
        suite="fluids",
        difficulty="hard",
        cost_limit=5.0,
    ),
    TaskSpec(
        id="simenv/Mixing-v0",
        task="tasks.stirring:Mixing",
        horizon=200,
        action=2,
        observation=253,
        summary="mix two halves of a tray: intensity of segregation 0.25",
        suite="fluids",
        difficulty="medium",
        cost_limit=5.0,
    ),
    TaskSpec(
        id="simenv/FluidTransport-v0",
        task="tasks.fluids:FluidTransport",
        horizon=150,
        action=2,
        observation=206,
        summary="carry a cup of water to a goal within 0.03 m, spilling under 2 %",
        suite="fluids",
        difficulty="medium",
        cost_limit=1.0,
        goal=2,
    ),
    TaskSpec(
        id="simenv/Pour-v0",
        task="tasks.fluids:Pour",
        horizon=200,
        action=2,
        observation=205,
        summary="pour a cup of water into a glass: 90 % of it",
        suite="fluids",
        difficulty="medium",
        cost_limit=1.0,
    ),
    TaskSpec(
        id="simenv/GatherFloat-v0",
        task="tasks.floating:GatherFloat",
        horizon=240,
        action=2,
        observation=212,
        summary="drive two floats past 1.1 m with a paddle that moves the water",
        suite="fluids",
        difficulty="medium",
        cost_limit=10.0,
    ),
    TaskSpec(
        id="simenv/DoughRoll-v0",
        task="tasks.dough:DoughRoll",
        horizon=100,
        action=3,
        observation=201,
        summary="roll dough flat: to a third of its mean height",
        suite="manipulation",
        difficulty="medium",
        cost_limit=10.0,
    ),
    TaskSpec(
        id="simenv/DoughShape-v0",
        task="tasks.dough:DoughShape",
        horizon=100,
        action=3,
        observation=301,
        summary="roll dough into a slab, a bar or a ramp: 70 % overlap",
        suite="manipulation",
        difficulty="medium",
        cost_limit=10.0,
        goal=100,
    ),
    TaskSpec(
        id="simenv/RopePush-v0",
        task="tasks.rope:RopePush",
        horizon=60,
        action=2,
        observation=124,
        summary="push a rope into a bow: Chamfer distance below 0.02 m",
        suite="manipulation",
        difficulty="medium",
        cost_limit=5.0,
    ),
    TaskSpec(
        id="simenv/SandDig-v0",
        task="tasks.sand:SandDig",
        horizon=150,
        action=3,
        observation=70,
        summary="dig a hole with a shovel: at most a quarter of its sand left",
        suite="sand",
        difficulty="medium",
        cost_limit=20.0,
    ),
    TaskSpec(
        id="simenv/SandSmooth-v0",
        task="tasks.sand:SandSmooth",
        horizon=150,
        action=3,
        observation=70,
        summary="level waves with a scraper: to a quarter of their unevenness",
        suite="sand",
        difficulty="medium",
        cost_limit=20.0,
    ),
    TaskSpec(
        id="simenv/SandPaint-v0",
        task="tasks.sand:SandPaint",
        horizon=150,
        action=3,
        observation=86,
        summary="draw two furrows with a rod: to a quarter of the height error",
        suite="sand",
        difficulty="hard",
        cost_limit=20.0,
        goal=16,
    ),
)
"""One row per task; `TASKS` adds their variants."""

TASKS: dict[str, TaskSpec] = {spec.id: spec for row in FAMILIES for spec in row.variants()}


@dataclass(frozen=True)
class ProblemSpec:
    """One identification problem (`simenv.identification`).

    Attributes:
        material: what the body is made of.
        parameters: names of what is to be found.
        summary: one line on it.
    """

    material: str
    parameters: tuple[str, ...]
    summary: str

    @property
    def id(self) -> str:
        """What it is called."""
        return f"{PREFIX}MaterialID-{self.material}-v0"


PROBLEMS: dict[str, ProblemSpec] = {
    spec.id: spec
    for spec in (
        ProblemSpec("Jelly", ("E",), "stiffness of a corotated solid"),
        ProblemSpec("Sand", ("E", "friction_angle"), "stiffness and friction of Drucker–Prager"),
        ProblemSpec("Plasticine", ("E", "yield_stress"), "stiffness and yield stress of von Mises"),
        ProblemSpec("Water", ("bulk_modulus",), "compressibility of a fluid"),
    )
}
"""Identification problems by id: a cube is thrown; which parameters does its material have?"""

PROBLEM = "tasks.identification:IdentificationProblem"
"""Their class, "module:Class"."""


def find_problem(problem_id: str) -> ProblemSpec:
    """The row of an identification problem; the id may leave out namespace and version.

    Raises:
        UnknownTaskError: no such id, or it is a task's.
    """
    name = problem_id.removeprefix(PREFIX).removesuffix("-v0")
    full = f"{PREFIX}{name}-v0"
    if full not in PROBLEMS:
        raise unknown(full if full in TASKS else problem_id, PROBLEMS)
    return PROBLEMS[full]


def unknown(task_id: str, known: Iterable[str]) -> UnknownTaskError:
    """The error of an id that is not among the known ones; it says if it is one of another kind."""
    remedy = None
    if task_id in TASKS:
        remedy = f"is a task, not an identification problem; those are {', '.join(PROBLEMS)}"
    if task_id in PROBLEMS:
        remedy = (
            "is an identification problem, not a task: 'simenv identify' and "
            "simenv.identification take it"
        )
    if task_id in gymnasium.registry and not task_id.startswith(PREFIX):
        remedy = "is an environment of another package; 'simenv list' shows those of this one"
    return UnknownTaskError(task_id, known, remedy)


def find(task_id: str) -> TaskSpec:
    """The row of an id.

    Raises:
        UnknownTaskError: no such id.
    """
    if task_id not in TASKS:
        raise unknown(task_id, TASKS)
    return TASKS[task_id]


def face_of(task: str) -> dict[str, str]:
    """Where the `Task` of an id lives and its variant, as the faces take them.

    Args:
        task: a registered id, also as "simenv:id", or "module:Class" of a `Task`.

    Raises:
        UnknownTaskError: no such id.
    """
    name = task.removeprefix("simenv:")
    if ":" in name:
        return {"task": name}
    spec = find(name)
    return {"task": spec.task} | ({} if spec.variant is None else {"variant": spec.variant})


def register_all() -> None:
    """Register every task's single and vector environment; safe to call again."""
    for spec in TASKS.values():
        if spec.id not in gymnasium.registry:
            gymnasium.register(
                id=spec.id,
                entry_point=f"simenv.envs.env:{'GoalEnv' if spec.variant == 'goal' else 'Env'}",
                vector_entry_point="simenv.envs.vector:VectorEnv",
                max_episode_steps=spec.horizon,
                kwargs=face_of(spec.id),
            )
