"""The code on the pages of docs/howto, as a revision of a project."""

import re
from pathlib import Path

from alembic_project import Project
from launch import Launcher

DOCS = Path(__file__).parents[1] / "docs"
HEADER = "from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = '0002', '0001'\n"


def section(page: str, heading: str) -> str:
    """Return the text under a heading of a how-to."""
    return (DOCS / "howto" / f"{page}.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def revision_of(page: str, heading: str) -> str:
    """Return the only revision under a heading of a how-to."""
    (code,) = [block for block in blocks_of(page, heading) if "def upgrade" in block]
    return code


def blocks_of(page: str, heading: str) -> list[str]:
    """Return the blocks of Python under a heading of a how-to."""
    return re.findall(r"```python\n(.*?)```", section(page, heading), flags=re.DOTALL)


def project_of(folder: Path, database_url: str, launcher: Launcher, code: str) -> Project:
    """Return a project whose second revision is the code of a page."""
    project = Project(folder, database_url, launcher)
    (folder / "migrations" / "versions" / "0002.py").write_text(HEADER + code)
    return project
