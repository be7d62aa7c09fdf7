"""The recipe for partitioned tables, as its page prints it, goes up, down and up again."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "findings" / "partitioned-table.md"
ROWS = "SELECT tableoid::regclass::text, t::text FROM measurements t ORDER BY 1, 2"


@pytest.fixture
def project(tmp_path) -> Path:
    """A project whose only revision is the page's recipe."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    versions = tmp_path / "alembic" / "versions"
    versions.mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        shutil.copy(ROOT / "alembic" / name, tmp_path / "alembic")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    (versions / "1.py").write_text(f"from alembic import op\nrevision, down_revision = '1', None\n{code}")
    return tmp_path


def test_recipe_goes_up_and_down_h149(alembic, sql, project):
    """The page's revision enforces the key on all partitions, and its downgrade restores every row of each."""
    sql(
        "CREATE TABLE measurements (id int, sensor_id int NOT NULL, taken_on date NOT NULL, v int, "
        "PRIMARY KEY (id, taken_on)) PARTITION BY RANGE (taken_on)"
    )
    for year in (2025, 2026):
        bounds = f"FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        sql(f"CREATE TABLE measurements_{year} PARTITION OF measurements FOR VALUES {bounds}")
    sql("INSERT INTO measurements SELECT i, i % 7, date '2025-12-20' + i % 30, i FROM generate_series(1, 840) AS i")
    before = sql(ROWS)
    (query,) = re.findall(r"```sql\n(.*?);\n```", PAGE.read_text(), flags=re.DOTALL)
    for _ in range(2):
        alembic("upgrade", "head", cwd=project)
        assert [(True,)] == sql(query)
        assert [(210,)] == sql("SELECT count(*) FROM measurements")
        assert [("measurements_2025_key",), ("measurements_2026_key",)] == sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'measurements_key'::regclass ORDER BY 1"
        )
        alembic("downgrade", "base", cwd=project)
        assert before == sql(ROWS)
        assert [] == sql("SELECT conname FROM pg_constraint WHERE contype = 'u' AND conname ~ '^measurements'")
