"""Which statements a way executed, how long each took, and to which step of the upgrade it belongs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, event

from dupe_audit import statements

#: in the order in which they are shown; each way has some of them
STEPS = ("delete", "rank", "lock", "move", "build", "attach", "proof", "counts", "commit", "other")
#: the files of src/dupe_audit/statements/ that make up a step; everything else is "other"
STATEMENTS = {
    "rank": ("stage", "index_stage", "analyze_stage", "count_staged", "drop_stage", "record_ranking"),
    "lock": ("create_locked", "lock_rows", "drop_locked"),
    "move": ("next_batch", "move_rows", "batch_sums", "record_batch", "batch_end"),
    "build": ("build_index",),
    "attach": ("at_once",),
    "proof": ("count_extras",),
    "counts": ("count_rows", "measure"),
}
#: ways by hand name their statements by step
STEP_OF = {
    **{step: step for step in STEPS},
    **{name: step for step, names in STATEMENTS.items() for name in names},
    "COMMIT": "commit",
}
HOLE = re.compile(r"\{\w+\}")


class Stopwatch:
    """Measures each statement that an engine executes, up to the arrival of its result."""

    def __init__(self, engine: Engine) -> None:
        self.executed: list[tuple[str, float]] = []
        self._statement, self._started = "", 0.0
        event.listen(engine, "before_cursor_execute", self._begin)
        event.listen(engine, "after_cursor_execute", self._end)
        event.listen(engine, "handle_error", self._end)

    def _begin(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._statement, self._started = statement, time.monotonic()

    def _end(self, *_: object) -> None:
        self.executed.append((self._statement, time.monotonic() - self._started))


def by_name(executed: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the seconds by the name of the statement's file, or by the statement's first word."""
    seconds: Counter[str] = Counter()
    for text, duration in executed:
        seconds[name_of(text)] += duration
    return dict(seconds.most_common())


def by_step(seconds: Mapping[str, float], wall: float) -> dict[str, float]:
    """Return the seconds of each step, which add up to the wall time: the client's own time is in "other"."""
    steps = dict.fromkeys(STEPS, 0.0)
    for name, duration in seconds.items():
        steps[STEP_OF.get(name, "other")] += duration
    steps["other"] += wall - sum(seconds.values())
    return {step: duration for step, duration in steps.items() if duration}


def name_of(text: str) -> str:
    """Return the name of the file in which a statement is written; of several, the one with the most text of it."""
    fitting = [(sum(map(len, pieces)), name) for name, pieces in _templates() if _fits(text, pieces)]
    return max(fitting)[1] if fitting else text.split(maxsplit=1)[0]


@cache
def _templates() -> list[tuple[str, list[str]]]:
    """Return the fixed parts of each statement, between its holes; without fragments that begin with a hole."""
    names = [path.stem for path in Path(statements.__file__).parent.glob("*.sql")]
    parts = [(name, HOLE.split(statements.template(name))) for name in names]
    return [(name, pieces) for name, pieces in parts if len(pieces[0]) > 2]


def _fits(text: str, pieces: list[str]) -> bool:
    """Return whether the text begins with the first piece and has the others in this order, the last at its end."""
    if not text.startswith(pieces[0]):
        return False
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return text.endswith(pieces[-1])
