"""The operations that autogenerate writes, each with its reverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alembic.operations import MigrateOperation, ops

from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    CreateUniqueIndexOnlineOp,
    DropUniqueConstraintOnlineOp,
    DropUniqueIndexOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey


class OpSequence(ops.OpContainer):
    """Operations that stay together, in this order."""

    def reverse(self) -> MigrateOperation:
        """Return the operations that undo them, the last one first."""
        return OpSequence([operation.reverse() for operation in reversed(self.ops)])


def _creating(key: UniqueKey) -> CreateUniqueConstraintOnlineOp:
    form = CreateUniqueIndexOnlineOp if key.form == "index" else CreateUniqueConstraintOnlineOp
    return form(key, BuildRule())


def _dropping(key: UniqueKey) -> DropUniqueConstraintOnlineOp:
    form = DropUniqueIndexOnlineOp if key.form == "index" else DropUniqueConstraintOnlineOp
    return form(key, BuildRule())


class Enforce(OpSequence):
    """Archive the duplicates of a key, then create its constraint or index."""

    def __init__(self, key: UniqueKey) -> None:
        super().__init__([ArchiveDuplicatesOp(key, CleanupRule()), _creating(key)])
        self.key = key


class Release(OpSequence):
    """Drop a constraint that the models no longer have; duplicates can arrive then, so the reverse archives them.

    What that archives has to be restored when the constraint is dropped again.
    """

    def __init__(self, key: UniqueKey) -> None:
        super().__init__([_dropping(key), RestoreDuplicatesOp(key)])
        self.key = key

    def reverse(self) -> MigrateOperation:
        """Return the operations that enforce the key again."""
        return Enforce(self.key)


class Replace(DropUniqueConstraintOnlineOp):
    """Drop a constraint whose place another one takes.

    Nothing is restored, because the other key may forbid the rows.
    """

    def __init__(self, key: UniqueKey, *, implied: bool = False) -> None:
        super().__init__(key, BuildRule())
        self.implied = (
            implied  #: the other key forbids every duplicate of this one, so the reverse need not archive any
        )

    def reverse(self) -> MigrateOperation:  # type: ignore[override] # Alembic renders any operation
        """Return the operations that enforce the key again."""
        return _creating(self.key) if self.implied else Enforce(self.key)

    def to_diff_tuple(self) -> tuple[object, ...]:
        """Return what ``alembic check`` prints."""
        return _dropping(self.key).to_diff_tuple()


class Swap(OpSequence):
    """Drop constraints and create others that cannot exist beside them: of the same name, or over the same columns.

    Nothing is written between a drop and the create that follows it, so that both can be done in one statement. In the
    reverse, what the archive of a new key holds is restored last.
    """

    def __init__(self, old: Sequence[Replace], new: Sequence[UniqueKey]) -> None:
        super().__init__([*old, *map(Enforce, new)])
        self.old = tuple(old)
        self.new = tuple(new)

    def reverse(self) -> MigrateOperation:
        """Return the operations that enforce the old keys again."""
        drops = [_dropping(key) for key in self.new]
        creates = [operation.reverse() for operation in self.old]
        return OpSequence([*drops, *creates, *map(RestoreDuplicatesOp, self.new)])


class RenameConstraint(MigrateOperation):
    """Change nothing of a constraint but its name."""

    def __init__(self, key: UniqueKey, name: str) -> None:
        self.key = key
        self.name = name

    def reverse(self) -> RenameConstraint:
        """Return the operation that gives the constraint its former name."""
        return RenameConstraint(replace(self.key, name=self.name), str(self.key.name))

    def to_diff_tuple(self) -> tuple[str, str | None, str]:
        """Return what ``alembic check`` prints."""
        return ("rename_constraint", self.key.name, self.name)


class Remark(OpSequence):
    """A comment on what follows in upgrade(), or, as the reverse of an empty one, in downgrade()."""

    def __init__(self, *lines: str, reverse: Remark | None = None) -> None:
        super().__init__()
        self.lines = lines
        self._reverse = reverse

    def reverse(self) -> Remark:
        """Return the remark for the other direction."""
        return self._reverse or Remark(reverse=self)
