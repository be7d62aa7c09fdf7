"""The call of a revision's function that is in progress: which revision, in which direction, and both its functions."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType, FunctionType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Call:
    """The call of a revision's function."""

    token: object
    function: Callable[[], object]
    revision: str
    previous: str | None
    upgrading: bool
    downgrade: object  #: the function of the same revision; None without one
    upgrade: object  #: likewise, with the arguments of the call
    file: str | None  #: of the revision


def current_call() -> Call | None:
    """Return the call of ``upgrade()`` or ``downgrade()`` in progress; Alembic has no public way to ask for it.

    Alembic's own frame knows it, whatever the function is named. Where Alembic does not run, as in tests of a
    revision, it is the outermost function of that name in a revision: a revision can call another one's.
    """
    outermost = None
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the only way
    while frame := frame.f_back if frame else None:
        name = frame.f_code.co_name
        if name == "run_migrations" and frame.f_globals.get("__name__") == "alembic.runtime.migration":
            step = frame.f_locals.get("step")
            if callable(getattr(step, "migration_fn", None)) and hasattr(step, "is_upgrade"):
                return _call_in_alembic(step, frame.f_locals.get("kw") or {})
            break
        if name in ("upgrade", "downgrade") and "down_revision" in frame.f_globals:
            outermost = frame
    return _call_in_frame(outermost) if outermost else None


def _call_in_alembic(step: Any, arguments: Mapping[str, Any]) -> Call:
    return Call(
        token=step,
        function=partial(step.migration_fn, **arguments),
        revision=str(step.revision.revision),
        previous=_name(step.revision.down_revision),
        upgrading=bool(step.is_upgrade),
        downgrade=getattr(getattr(step.revision, "module", None), "downgrade", None),
        upgrade=_with(getattr(getattr(step.revision, "module", None), "upgrade", None), arguments),
        file=getattr(step.revision, "path", None),
    )


def _call_in_frame(frame: FrameType) -> Call:
    function = frame.f_globals.get(frame.f_code.co_name)
    if not callable(function):
        function = FunctionType(frame.f_code, frame.f_globals)
    names, variadic, options, values = inspect.getargvalues(frame)
    number = frame.f_code.co_argcount
    positional = [*(values[name] for name in names[:number]), *(values[variadic] if variadic else ())]
    named = {name: values[name] for name in names[number:]}
    return Call(
        token=frame,
        function=partial(function, *positional, **named, **(values[options] if options else {})),
        revision=str(frame.f_globals.get("revision")),
        previous=_name(frame.f_globals.get("down_revision")),
        upgrading=frame.f_code.co_name == "upgrade",
        downgrade=frame.f_globals.get("downgrade"),
        upgrade=None,
        file=frame.f_code.co_filename,
    )


def _with(function: object, arguments: Mapping[str, Any]) -> object:
    return partial(function, **arguments) if callable(function) else None


def _name(previous: object) -> str | None:
    """Return the revision below; None if there is none, or a merge has several."""
    return previous if isinstance(previous, str) else None
