"""The how-to on divergent duplicates, step by step: its commands print what it shows."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "divergent-duplicates.md"
ROWS = """
CREATE TABLE orders (
    id int PRIMARY KEY, customer_id int, placed_at date, status text, received_at timestamptz DEFAULT now()
);
INSERT INTO orders
SELECT n, n % 500, date '2026-01-01' + n % 500, CASE WHEN n > 980 THEN 'open' ELSE 'paid' END,
       timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, 1000) n
"""


def section():
    """Return the console blocks of the section about finding out, each as a command and the output that it shows."""
    text = PAGE.read_text().split("## Find out where duplicates differ\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n\$ dupe-audit ([^\n]+)\n(.*?)```", text, flags=re.DOTALL)
    return [(shlex.split(command), output.removeprefix("…\n")) for command, output in blocks]


def test_the_page_shows_what_its_commands_print(sql, dupe_audit, tmp_path):
    """With 500 divergent groups, the commands of the page print the lines that it shows, and write the file."""
    sql(ROWS)
    steps = section()
    assert 4 == len(steps)
    for arguments, shown in steps:
        command = [str(tmp_path / word) if word.endswith(".csv") else word for word in arguments]
        output = dupe_audit(*command, code=1).stdout
        assert shown in output
    assert 1 + 2 * 20 == len((tmp_path / "orders.csv").read_text().splitlines())


@pytest.mark.parametrize("directive", ["ignore=['received_at']"])
def test_the_suggestion_is_an_argument_of_the_directive(directive):
    """What the page shows as the suggestion is what it then writes in a revision."""
    text = PAGE.read_text()
    assert f"exact with {directive}" in text
    assert directive.replace("'", '"') in text
