"""Read a revision without executing it: its directives, and the statements of Alembic's own operations, in order."""

from __future__ import annotations

import io
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.operations import MigrateOperation, Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Engine, event, text
from sqlalchemy.engine.mock import MockConnection

from dupe_audit.directives.arguments import escaped
from dupe_audit.errors import WrongUsage

#: packages whose operations are directives; every other operation is recorded as the statements it executes
_DIRECTIVES = "dupe_audit."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainStatement:
    """A statement that Alembic's own operations, or ``op.execute()``, would execute."""

    construct: Any  #: a SQLAlchemy construct such as ``AddConstraint`` or ``CreateIndex``, or ``text()``


#: what a revision asks for: a directive, or a statement
Item = MigrateOperation | PlainStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a revision could not be read to its end."""

    reason: str  #: in one line, without a full stop
    line: int | None  #: of the revision's file; None if the failure is not in it
    certain: bool  #: the revision fails on a live database too; otherwise it needs one to be read
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What an ``upgrade()`` or ``downgrade()`` asks for, as far as it could be read."""

    items: tuple[Item, ...]  #: in the order of the revision
    obstacle: Obstacle | None = None  #: the first; None if the revision was read to its end, and makes no mistake
    is_cut_short: bool = False  #: an obstacle ended the reading; otherwise only wrong directives were left out
    mistakes: tuple[Obstacle, ...] = ()  #: every one that a database would not change
    enclosed: tuple[tuple[MigrateOperation, str], ...] = ()  #: directives in an autocommit block, with their places

    @property
    def directives(self) -> tuple[MigrateOperation, ...]:
        """The directives of this package."""
        return tuple(item for item in self.items if isinstance(item, MigrateOperation))


def record(
    function: Callable[[], object],
    *,
    context: MigrationContext | None = None,
    enclosing: Operations | None = None,
) -> Recording:
    """Call a revision's function on no database, and return what it asks for.

    The function's own Python is executed, as Alembic's offline mode does. Code that needs the answer of a query stops
    the recording; what comes after it is not read.

    Args:
        function: ``upgrade`` or ``downgrade`` of a revision's module.
        context: whose options are used, such as the metadata with its naming convention.
        enclosing: what ``alembic.op`` stands for while a revision is executed; it is put back afterwards.
    """
    items: list[Item] = []
    obstacles: list[Obstacle] = []
    enclosed: list[tuple[MigrateOperation, str]] = []
    is_cut_short = False
    recorder = _context(context or (enclosing.migration_context if enclosing else None))
    blocks = _AutocommitBlocks(recorder)

    def note(construct: Any, *_: object, **__: object) -> None:
        items.append(PlainStatement(construct=text(construct) if isinstance(construct, str) else construct))

    recorder.impl._exec = note  # type: ignore[method-assign]  # noqa: SLF001 - every statement of every operation passes here
    try:
        with Operations.context(recorder) as operations, redirect_stdout(io.StringIO()):
            execute = operations.invoke

            def invoke(operation: MigrateOperation) -> Any:
                if type(operation).__module__.startswith(_DIRECTIVES):
                    items.append(operation)
                    if blocks.open:
                        enclosed.append((operation, _place(traceback.extract_stack(), function)[1]))
                    return None
                return execute(operation)

            operations.invoke = invoke  # type: ignore[method-assign]
            # A directive with a wrong argument notes it here, and the reading continues.
            operations.note_mistake = lambda error: obstacles.append(_obstacle(error, function))  # type: ignore[attr-defined]
            try:
                with _no_other_connection():
                    function()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a revision can fail in any way here
                is_cut_short = True
                obstacles.append(_obstacle(error, function))
    finally:
        if enclosing is not None:
            enclosing._install_proxy()  # noqa: SLF001 - Alembic's own context removes the enclosing one
    return Recording(
        items=tuple(items),
        obstacle=obstacles[0] if obstacles else None,
        is_cut_short=is_cut_short,
        mistakes=tuple(obstacle for obstacle in obstacles if obstacle.certain),
        enclosed=tuple(enclosed),
    )


class _AutocommitBlocks:
    """The blocks of ``autocommit_block()`` that the revision has open; Alembic has no flag for them in a script."""

    def __init__(self, context: MigrationContext) -> None:
        self.open = 0
        self._enter = context.autocommit_block
        context.autocommit_block = self._counted  # type: ignore[method-assign]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        try:
            with self._enter():
                yield
        finally:
            self.open -= 1


@contextmanager
def _no_other_connection() -> Iterator[None]:
    """Stop a revision that executes statements on its own engine: they would be executed twice."""
    thread = threading.get_ident()

    def refuse(*_: object) -> None:
        if threading.get_ident() == thread:
            raise RuntimeError("the revision executes statements on its own connection")

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)


def _context(like: MigrationContext | None) -> MigrationContext:
    options = {**(like.opts if like else {}), "as_sql": True, "output_buffer": io.StringIO()}
    environment = like.environment_context if like else None
    announced = logging.getLogger("alembic.runtime.migration")
    disabled, announced.disabled = announced.disabled, True  # it would say that SQL is generated
    try:
        context = MigrationContext.configure(dialect_name="postgresql", environment_context=environment, opts=options)
    finally:
        announced.disabled = disabled
    stand_in: Any = _MockConnection(context.dialect, lambda construct, *_, **__: context.impl._exec(construct))  # noqa: SLF001
    context.connection = context.impl.connection = stand_in
    if like is not None and not like.as_sql:
        # A revision can choose its directives by this; Alembic's own operations ask the context's ``impl`` instead.
        context.as_sql = False
        context.autocommit_block = nullcontext  # type: ignore[method-assign,assignment]
        context.begin_transaction = lambda _per_migration=False: nullcontext()  # type: ignore[method-assign]
    return context


class NoResult(RuntimeError):
    """A revision uses the result of a statement, which no database has executed."""

    def __init__(self) -> None:
        super().__init__("the revision reads the result of a statement")


class _MockConnection(MockConnection):
    """What ``op.get_bind()`` returns: statements are recorded, and their results cannot be used."""

    def execute(self, *arguments: Any, **options: Any) -> Any:
        super().execute(*arguments, **options)
        return _NoAnswer()

    def exec_driver_sql(self, sql: str, *_arguments: Any, **_options: Any) -> Any:
        return self.execute(text(escaped(sql)))

    def commit(self) -> None:
        """Do nothing, as after COMMIT ahead of a concurrent build."""


class _NoAnswer:
    """The result of a statement that no database has executed; nothing can be read from it or decided by it."""

    def __getattr__(self, name: str) -> Any:
        raise NoResult

    def _refuse(self, *_: object) -> Any:
        raise NoResult

    __bool__ = __iter__ = __len__ = __getitem__ = __eq__ = __ne__ = __contains__ = __enter__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _obstacle(error: BaseException, function: Callable[[], object]) -> Obstacle:
    message = "".join(str(error).splitlines()[:1])
    frames = traceback.extract_tb(error.__traceback__) if error.__traceback__ else traceback.extract_stack()
    line, name = _place(frames, function)
    if name and message.endswith(name):
        name = ""  # the error says it itself
    kind = "" if isinstance(error, (WrongUsage, CommandError, NoResult)) else f"{type(error).__name__}: "
    return Obstacle(
        reason=f"{kind}{message}".rstrip(": .") + name,
        line=line,
        certain=_is_certain(error, message),
        error=error,
    )


def _place(frames: traceback.StackSummary, function: Callable[[], object]) -> tuple[int | None, str]:
    """Return the last line of the function's file in *frames*, and how a message appends it; None and empty without."""
    file = getattr(getattr(getattr(function, "func", function), "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return (lines[-1], f" ({Path(file).name}, line {lines[-1]})") if file and lines else (None, "")


def _is_certain(error: BaseException, message: str) -> bool:
    """Return whether a database would not change the failure: a query has no answer here, which reads as None.

    A ``CommandError`` is no mistake: Alembic raises it for what needs a database, and revisions that refuse ``--sql``.
    """
    if isinstance(error, (WrongUsage, NameError, ImportError)):
        return True
    return isinstance(error, (TypeError, AttributeError)) and not any(
        placeholder in message for placeholder in ("NoneType", "MockConnection")
    )
