"""URLs of databases: what is wrong with one, its other forms, and texts without the secrets that it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ProgrammingError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from dupe_audit.errors import WrongUsage
from dupe_audit.findings import without_passwords

#: the scheme of the URL that ``alembic init`` writes: driver://user:pass@localhost/dbname
PLACEHOLDER = "driver"

_SCHEME = re.compile(r"^(\w+)(\+\w+)?://")
#: a name of a host that begins with the end of a password, in the messages of drivers
_TAIL_IN_HOST = re.compile(r"(\bhost(?:\s?name)?:?\s*[\"'])[^\"'\s]*@", re.IGNORECASE)
#: the rest of a URL whose password was divided at an @; an email address is masked too
_REST_OF_URL = re.compile(r"(?<![^\s\"'(])(?![^\s\"']*://)[^\s\"'@(]+@(?=[\w\[])")


def libpq_url(url: str) -> str:
    """Return *url* in the form that libpq reads; libpq itself handles sockets, several hosts, services and escapes.

    Raises:
        WrongUsage: it is not a URL, or one for another database system, or a part of its password would be mistaken
            for the host. The message quotes no part of it.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        if "=" in url and "://" not in url:  # a libpq keyword string, such as service=orders
            return url
        raise WrongUsage("The database URL cannot be read. Write postgresql://user:password@host:port/database.")
    if scheme[1] not in ("postgresql", "postgres"):
        raise WrongUsage(f"The URL is for {scheme[1]}; only PostgreSQL is supported.")
    remainder = url[scheme.end() :]
    if character := _unescaped(remainder):
        raise WrongUsage(
            f"The database URL contains an unescaped {character} in the user or the password, so the host would be "
            f"wrong. Write it as %{ord(character):X}. Not connected."
        )
    return "postgresql://" + remainder


def _unescaped(remainder: str) -> str | None:
    """Return the character in user or password at which libpq would begin the host too early, or None.

    libpq takes everything up to the first @ as user and password, unless a / comes before it.
    """
    at, slash = remainder.find("@"), remainder.find("/")
    if at < 0:
        return None
    if slash < 0 or at < slash:
        return "@" if "@" in remainder[at + 1 :].split("?", 1)[0] else None
    path, _, query = remainder.partition("?")
    return "/" if "@" in path or "=" not in query.partition("@")[0] else None


def sqlalchemy_url(url: str, like: str | None = None) -> str:
    """Return *url* in the form that SQLAlchemy reads.

    Args:
        url: in any form that libpq reads.
        like: a URL whose driver is used if it is installed; otherwise psycopg 3.
    """
    driver = _driver(like) or _driver(url) or "postgresql+psycopg"
    try:
        return make_url(libpq_url(url)).set(drivername=driver).render_as_string(hide_password=False)
    except (ArgumentError, ValueError, WrongUsage):
        pass  # several hosts, a service, or keywords
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(libpq_url(url)).items() if value is not None}
    except ProgrammingError:
        return url
    user, password, database = (parts.pop(name, None) for name in ("user", "password", "dbname"))
    made = URL.create(driver, username=user, password=password, database=database, query=parts)
    return made.render_as_string(hide_password=False)


def same_server_and_database(url: str, other: str) -> bool:
    """Return whether two URLs lead to one database, as far as their texts show; True if one cannot be read."""
    if PLACEHOLDER in (url.partition("://")[0], other.partition("://")[0]):
        return True
    try:
        return _destination(url) == _destination(other)
    except (WrongUsage, ProgrammingError):
        return True


def _destination(url: str) -> tuple[object, ...]:
    parts = conninfo_to_dict(libpq_url(url))
    return tuple(parts.get(name) for name in ("service", "host", "hostaddr", "port", "dbname"))


def _driver(url: str | None) -> str | None:
    """Return the name of a PostgreSQL driver that a URL names and that is installed."""
    scheme = _SCHEME.match(url or "")
    if scheme is None or scheme[2] is None or scheme[1] != "postgresql":
        return None
    try:
        URL.create(scheme[1] + scheme[2]).get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ImportError):
        return None
    return scheme[1] + scheme[2]


def without_secrets(text: str, urls: Iterable[str | None] = ()) -> str:
    """Return a text that others wrote with ``***`` for passwords, and for each part of those in *urls*."""
    text = _REST_OF_URL.sub("***@", _TAIL_IN_HOST.sub(r"\1***@", without_passwords(text)))
    for url in urls:
        for secret in _secrets(url or ""):
            text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> list[str]:
    """Return the password of a URL, and if it is not escaped the parts that a driver takes for something else."""
    scheme = _SCHEME.match(url)
    userinfo, at, _ = url[scheme.end() :].rpartition("@") if scheme else ("", "", "")
    password = userinfo.partition(":")[2] if at else ""
    parts = re.split(r"[@/:?#]", password) if re.search(r"[@/:?#]", password) else []
    secrets = {password, unquote(password), *(part for part in parts if len(part) > 2)}
    return sorted((secret for secret in secrets if len(secret) > 2), key=len, reverse=True)
