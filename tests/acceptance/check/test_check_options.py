"""Options that can never work are refused at once, and a config can be a pyproject.toml."""

import sys
from pathlib import Path

import pytest

from dupe_audit.checks import check
from dupe_audit.errors import WrongUsage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": -5}, "--rows must be from 20 to 1,000,000, not -5."),
        ({"rows": 1}, "--rows must be from 20 to 1,000,000, not 1."),
        ({"rows": 1_000_001}, "--rows must be from 20 to 1,000,000, not 1,000,001."),
        ({"accept": ["no-such-thing"]}, "--accept: 'no-such-thing' is not a finding of dupe-audit check."),
        ({"accept": "squawk"}, "accept must be a list, such as ['squawk'], not just 'squawk'."),
        ({"x": "tenant=demo"}, "x must be a list, such as ['tenant=demo'], not just 'tenant=demo'."),
        ({"writers": "src"}, "writers must be a list, such as ['src'], not just 'src'."),
        ({"seed_sql": "/nonexistent"}, "--seed-sql: directory '/nonexistent' does not exist."),
    ],
)
def test_a_wrong_argument_is_refused_before_the_work(orders, options, message):
    """It is refused even if no part of the work would use it, because the check must not pass without it."""
    with pytest.raises(WrongUsage) as caught:
        check(orders.ini, server="no server at all", **options)
    assert message == str(caught.value)


def test_squawk_that_is_not_installed_is_refused(orders, tmp_path, monkeypatch):
    """A request for squawk without squawk is refused, because the check must not pass without it."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WrongUsage) as caught:
        check(orders.ini, server="no server at all", squawk=True)
    assert "--squawk: squawk is not installed: pip install 'dupe-audit[lint]'" == str(caught.value)


def test_a_missing_seed_directory_ends_with_2(orders, dupe_audit_here):
    """No revision of this project makes a seeded round trip, so none would read the directory."""
    done = dupe_audit_here("check", "--server", orders.server, "--seed-sql", "nowhere", code=2)
    assert "directory 'nowhere' does not exist" in done.stderr


@pytest.mark.parametrize("directory_name", [".", "backend"])
@pytest.mark.representatives("backend")
def test_the_config_may_be_a_pyproject(orders, dupe_audit_here, directory_name):
    """It is read as alembic -c pyproject.toml reads it, together with an alembic.ini beside it."""
    directory = Path(directory_name)
    directory.mkdir(exist_ok=True)
    orders.ini.unlink()
    (directory / "pyproject.toml").write_text(f'[tool.alembic]\nscript_location = "{orders.versions.parent}"\n')
    config = str(directory / "pyproject.toml")
    dupe_audit_here("check", "--config", config, "--server", orders.server)


def test_the_database_of_a_pyproject_is_in_the_ini_beside_it(orders, dupe_audit_here, database_url):
    """Alembic keeps the URL there, so --against without a URL looks for it there."""
    orders.ini.write_text(f"[alembic]\nsqlalchemy.url = {database_url.replace('%', '%%')}\n")
    Path("pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    arguments = ["check", "--server", orders.server, "--config", "pyproject.toml", "--against"]
    assert "revision-pending" in dupe_audit_here(*arguments, code=1).stdout
