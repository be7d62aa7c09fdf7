"""Register directives as Alembic operations; a wrong argument is reported in one line instead of a traceback."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import alembic.op
from alembic.operations import MigrateOperation, Operations
from alembic.util import CommandError

from dupe_audit.directives.arguments import described
from dupe_audit.errors import WrongUsage

T = TypeVar("T", bound=type[MigrateOperation])

_signatures: dict[str, inspect.Signature] = {}


class InvalidArgument(WrongUsage, CommandError):
    """A directive has an argument that can never work; Alembic's command line prints it without a traceback."""


class UnknownDirective(InvalidArgument, AttributeError):
    """A directive does not exist, but its name resembles that of one that does."""


def directive(name: str) -> Callable[[T], T]:
    """Register a class as the operation ``op.<name>()``, whose wrong arguments raise ``InvalidArgument``.

    While a revision is recorded, a wrong argument is only noted, so that one pass reports all of them.
    """

    def register(operation: T) -> T:
        Operations.register_operation(name)(operation)
        method = getattr(Operations, name)
        signature = inspect.signature(method)

        @wraps(method)
        def checked(operations: Operations, *arguments: Any, **options: Any) -> Any:
            try:
                try:
                    bound = signature.bind(operations, *arguments, **options).arguments
                except TypeError as error:
                    advice = hint(name, signature, arguments, options)
                    raise WrongUsage(f"{error}. Its arguments are: {_parameter_names(signature)}.{advice}") from None
                _check_names(bound, signature)
                return method(operations, *arguments, **options)
            except WrongUsage as error:
                if isinstance(error, InvalidArgument):
                    raise
                problem = f"op.{name}(): {error}"
                note = getattr(operations, "note_mistake", None)
                if note is None:
                    raise InvalidArgument(f"{problem.removesuffix('.')}{_place()}.") from None
                note(InvalidArgument(problem))

        setattr(Operations, name, checked)
        _signatures[name] = signature
        return operation

    return register


def signatures() -> dict[str, inspect.Signature]:
    """Return the signature of each directive, by its name."""
    return dict(_signatures)


def hint(name: str, signature: inspect.Signature, arguments: Sequence[Any], options: dict[str, Any]) -> str:
    """Return what to write instead of arguments that a directive does not accept; empty if nothing is known."""
    unprefixed = {option.removeprefix("postgresql_") for option in options}
    if name == "create_unique_constraint_online" and "where" in unprefixed:
        return " Only an index can have a predicate: use op.create_unique_index_online()."
    if name.startswith("drop_") and (len(arguments) > 2 or unprefixed & {"where", "columns"}):
        return " A drop needs neither columns nor where."
    for option in sorted(options.keys() - signature.parameters.keys()):
        if advice := _instead_of(option, signature):
            return advice
    by_position = [
        parameter for parameter in signature.parameters.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(arguments) >= len(by_position):
        return f" Pass everything after {by_position[-1].name} by name, such as schema=…."
    return ""


def _instead_of(option: str, signature: inspect.Signature) -> str:
    plain = option.removeprefix("postgresql_")
    if option == "unique":
        return " The key is always unique: leave unique out."
    if plain not in signature.parameters and (owners := _owners(plain)):
        return f" {option} belongs to another directive: {owners}."
    close = get_close_matches(plain, signature.parameters, n=1)
    return f" Instead of {option}, write {close[0]}." if close else ""


def _owners(option: str) -> str:
    """Return the directives that have an argument, as a call writes it; those that undo only if no other has it."""
    names = [name for name, signature in _signatures.items() if option in signature.parameters]
    doing = [name for name in names if not name.startswith(("drop_", "restore_"))]
    *others, last = [f"op.{name}({option}=…)" for name in doing or names] or [""]
    return f"{', '.join(others)} or {last}" if others else last


def _check_names(bound: dict[str, Any], signature: inspect.Signature) -> None:
    """Refuse anything but text as a name, which most often means that arguments are in the wrong order.

    Raises:
        WrongUsage: the name of a table or a constraint is not text.
    """
    for option in ("name", "table", "schema"):
        value = bound.get(option)
        if value is not None and not isinstance(value, str):
            raise WrongUsage(
                f"{option} must be a name, not {described(value)}. Its arguments are: {_parameter_names(signature)}."
            )


def _parameter_names(signature: inspect.Signature) -> str:
    return ", ".join(name for name in signature.parameters if name != "self")


def _place() -> str:
    """Return the file and line of the revision being executed, as the end of a message; empty outside a revision."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read the source of every frame
    while frame and not {"revision", "down_revision"} <= frame.f_globals.keys():
        frame = frame.f_back
    return f" ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})" if frame else ""


def _missing(name: str) -> Any:
    """Raise an error for a name that ``alembic.op`` does not have; suggest the directive that it resembles."""
    if close := get_close_matches(name, _signatures, n=1, cutoff=0.7):
        raise UnknownDirective(f"op.{name}() does not exist. Did you mean op.{close[0]}()?{_place()}")
    raise AttributeError(f"module 'alembic.op' has no attribute {name!r}")


if not hasattr(alembic.op, "__getattr__"):
    alembic.op.__getattr__ = _missing  # type: ignore[method-assign]
