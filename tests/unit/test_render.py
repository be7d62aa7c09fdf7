"""Sizes and text as they are printed."""

import pytest

from dupe_audit.layout import plain
from dupe_audit.render import size


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1,023 B"), (34222, "33.4 kB"), (5 * 1024**4, "5,120.0 GB")]
)
def test_sizes(count, text):
    """Bytes are printed in the largest unit up to GB."""
    assert text == size(count)


def test_text_cannot_control_the_terminal():
    """Control characters and lone surrogates are replaced."""
    assert "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" == plain("a\x1b[2J\ud800")
