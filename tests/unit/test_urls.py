"""URLs: what of them is refused, their form for SQLAlchemy, and what messages show of them."""

import pytest
from sqlalchemy import make_url

from dupe_audit.errors import WrongUsage
from dupe_audit.postgres.urls import libpq_url, sqlalchemy_url, without_secrets


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgres://u:p%40@h:1/d", "postgresql+psycopg://u:p%40@h:1/d"),
        ("postgresql+no_such_driver://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://u@h1:1,h2:2/d", "postgresql+psycopg://u@/d?host=h1%2Ch2&port=1%2C2"),
        ("host=/run/pg dbname=d user=u password='a b'", "postgresql+psycopg://u:a b@/d?host=%2Frun%2Fpg"),
        ("service=orders", "postgresql+psycopg://?service=orders"),
    ],
)
def test_forms_for_sqlalchemy(url, expected):
    """Every form that libpq reads has one for SQLAlchemy, with an installed driver."""
    assert make_url(expected) == make_url(sqlalchemy_url(url))


def test_the_driver_of_the_project_is_kept():
    """The URL for env.py has the driver of the project's own URL if that is installed, and psycopg 3 otherwise."""
    assert sqlalchemy_url("postgres://h/d", "postgresql+psycopg://x/y") == "postgresql+psycopg://h/d"
    assert sqlalchemy_url("postgres://h/d", "postgresql+no_such_driver://x/y") == "postgresql+psycopg://h/d"
    assert sqlalchemy_url("postgres://h/d", "driver://user:pass@localhost/dbname") == "postgresql+psycopg://h/d"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/d?user=a@b",
        "postgresql://u:p@h/d?host=@socket",
        "postgresql:///d?host=@socket&user=a@b",
        "postgresql://u:a?b#c:d@h/d",
    ],
)
def test_an_at_sign_that_is_no_mistake(url):
    """An @ in the query of a URL, and other characters that libpq takes for a part of the password, are accepted."""
    assert url == libpq_url(url)


@pytest.mark.parametrize("url", ["", "orders", "://h", "postgresql:/h/d", "x=y://z"])
def test_what_is_no_url(url):
    """A text that is neither a URL nor a keyword string is refused."""
    with pytest.raises(WrongUsage, match="cannot be read"):
        libpq_url(url)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("failed to resolve host 'cret@db': no", "failed to resolve host '***@db': no"),
        ('could not translate host name "a/b@db" to address', 'could not translate host name "***@db" to address'),
        ("cannot reach cret@db:5432", "cannot reach ***@db:5432"),
        ("postgresql://u:a@b@h/d and cret", "postgresql://u:***@h/d and ***"),
        ("connection to server on socket failed", "connection to server on socket failed"),
    ],
)
def test_messages_show_no_part_of_a_password(text, printed):
    """What a driver took for the host is masked up to the @, and parts of a password that is not escaped everywhere."""
    assert printed == without_secrets(text, ["postgresql://u:se@cret@db/orders", None])
