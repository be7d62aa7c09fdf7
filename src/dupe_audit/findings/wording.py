"""Numbers and nouns as messages print them."""

from __future__ import annotations


def quantity(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as ``1 row`` or ``1,204 rows``.

    Args:
        plural: the plural, where it is not the singular with an *s*.
    """
    noun = singular if count == 1 else plural or f"{singular}s"
    return f"{count:,} {noun}"
