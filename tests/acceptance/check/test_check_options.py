"""Options that can never work are refused at once, and a config may be a pyproject.toml."""

from pathlib import Path

import pytest

from dupe_audit.checks import check
from dupe_audit.errors import WrongUsage


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": -5}, "--rows is from 20 to 1,000,000, not -5."),
        ({"rows": 1}, "--rows is from 20 to 1,000,000, not 1."),
        ({"rows": 1_000_001}, "--rows is from 20 to 1,000,000, not 1,000,001."),
        ({"accept": ["no-such-thing"]}, "--accept: there is no finding 'no-such-thing'."),
        ({"accept": "squawk"}, "accept is a list, such as ['squawk'], not 'squawk' alone."),
        ({"x": "tenant=demo"}, "x is a list, such as ['tenant=demo'], not 'tenant=demo' alone."),
        ({"writers": "src"}, "writers is a list, such as ['src'], not 'src' alone."),
        ({"seed_sql": "/nonexistent"}, "--seed-sql: there is no directory '/nonexistent'."),
    ],
)
def test_a_wrong_argument_is_refused_before_the_work(orders, options, said):
    """Even where no part of the work would have used it: who gives it must not see a green check."""
    with pytest.raises(WrongUsage) as caught:
        check(orders.ini, server="no server at all", **options)
    assert said == str(caught.value)


def test_a_seed_directory_that_is_not_there_ends_with_2(orders, dupe_audit_here):
    """No revision of this project makes a round trip, and so none would have looked into it."""
    done = dupe_audit_here("check", "--server", orders.server, "--seed-sql", "nowhere", code=2)
    assert "there is no directory 'nowhere'" in done.stderr


@pytest.mark.parametrize("there", [".", "backend"])
def test_the_config_may_be_a_pyproject(orders, dupe_audit_here, there):
    """It is read as alembic -c pyproject.toml reads it, with the alembic.ini beside it, if there is one."""
    directory = Path(there)
    directory.mkdir(exist_ok=True)
    orders.ini.unlink()
    (directory / "pyproject.toml").write_text(f'[tool.alembic]\nscript_location = "{orders.versions.parent}"\n')
    config = str(directory / "pyproject.toml")
    dupe_audit_here("check", "--config", config, "--server", orders.server, "--accept", "squawk")


def test_the_database_of_a_pyproject_is_in_the_ini_beside_it(orders, dupe_audit_here, database_url):
    """Alembic keeps it there, and so it is looked for there when --against names none."""
    orders.ini.write_text(f"[alembic]\nsqlalchemy.url = {database_url.replace('%', '%%')}\n")
    Path("pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    arguments = ["check", "--server", orders.server, "--config", "pyproject.toml", "--against", "--accept", "squawk"]
    assert "revision-pending" in dupe_audit_here(*arguments, code=1).stdout
