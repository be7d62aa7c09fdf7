"""The order in which a generated revision changes the keys of one table; its reverse is then in the right order too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from alembic.operations import MigrateOperation, ops

from dupe_audit.directives.autogenerate.foreign_keys import changes_of
from dupe_audit.directives.autogenerate.generated import Enforce, Release, RenameConstraint, Replace, Swap
from dupe_audit.model import UniqueKey


def in_order(
    table: ops.ModifyTableOps,
    released: Sequence[UniqueKey],
    unchanged: Sequence[MigrateOperation],
    enforced: Sequence[UniqueKey],
) -> Iterator[MigrateOperation]:
    """Yield the changes of a table in an order in which it is never without a key.

    A change of name alone is a rename.

    A new key is enforced before the old one is dropped, and in the downgrade the old one before the new one is
    dropped: if duplicates stop the first step, the table is as it was. Columns of new keys are added before them, and
    columns of old keys dropped after those.

    Two keys of one name cannot exist side by side, and a second one over the same columns is refused. There the
    drop comes first, and the directive that creates the new one does both at once.
    """
    released, enforced = list(released), list(enforced)
    for old, new in _renamed(released, enforced):
        released.remove(old)
        enforced.remove(new)
        yield RenameConstraint(old, str(new.name))
    dropped_first = [old for old in released if any(_cannot_coexist(old, new) for new in enforced)]
    swapped_in = [new for new in enforced if any(_cannot_coexist(old, new) for old in released)]
    dropped = [key for key in released if key not in dropped_first]
    created = [key for key in enforced if key not in swapped_in]
    if not enforced:
        yield from map(Release, dropped)
    later = [change for change in unchanged if enforced and released and isinstance(change, ops.DropColumnOp)]
    yield from changes_of(table, [change for change in unchanged if change not in later])
    yield from map(Enforce, created)
    if enforced:
        yield from (_replace(key, created or swapped_in) for key in dropped)
    if swapped_in:
        yield Swap([_replace(key, swapped_in) for key in dropped_first], swapped_in)
    yield from changes_of(table, later)


def _replace(old: UniqueKey, new: Sequence[UniqueKey]) -> Replace:
    return Replace(old, implied=any(_implies(key, old) for key in new))


def _cannot_coexist(old: UniqueKey, new: UniqueKey) -> bool:
    same_elements = set(old.columns) == set(new.columns) and old.nulls_not_distinct == new.nulls_not_distinct
    # A key with a predicate is refused beside the one for all rows, and accepted beside one with another predicate.
    return old.name == new.name or (same_elements and (old.is_plain or new.is_plain or old.where == new.where))


def _renamed(released: Sequence[UniqueKey], enforced: Sequence[UniqueKey]) -> list[tuple[UniqueKey, UniqueKey]]:
    """Return the pairs of an old and a new key that differ in nothing but the name."""
    pairs: list[tuple[UniqueKey, UniqueKey]] = []
    for new in enforced:
        for old in released:
            if (
                old == replace(new, name=old.name)
                and old.name != new.name
                and all(old is not pair[0] for pair in pairs)
            ):
                pairs.append((old, new))
                break
    return pairs


def _implies(new: UniqueKey, old: UniqueKey) -> bool:
    """Return whether a table that obeys the new key has no duplicates under the old one."""
    equal_nulls = new.nulls_not_distinct or not old.nulls_not_distinct
    return set(new.columns) <= set(old.columns) and equal_nulls and new.where in (None, old.where)
