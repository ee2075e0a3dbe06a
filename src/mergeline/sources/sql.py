"""A query on a database -> one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mergeline.errors import ConfigurationError, DataError, MergelineError, ServiceError
from mergeline.sources.environment import resolved, secrets
from mergeline.sources.files import refuse_repeated
from mergeline.sources.kinds import plain

if TYPE_CHECKING:
    import pandas
    import sqlalchemy

log = logging.getLogger(__name__)


def read_sql(query: str, connection: str, root: Path, environment: Mapping[str, str], where: str) -> pandas.DataFrame:
    """Return the rows of one query; the connection is a SQLAlchemy URL and may refer to ${NAME}.

    Nothing is written: SQLite is opened read-only, PostgreSQL reads in a read-only transaction, and everywhere else
    the transaction is rolled back (which does not undo a MySQL or Oracle `create`; use an account that may only
    read). A relative SQLite path starts at the root. The order of rows without `order by` is the database's.

    Raises ConfigurationError for a URL that cannot be used, ServiceError for a database that does not answer and
    DataError for a query that it refuses. No message holds a password or a URL's parameters.
    """
    url = database_url(connection, environment, where)
    hidden = _hidden_values(url, secrets(connection, environment))
    engine = _engine(_read_only(url, root), where)
    try:
        with _connected(engine, url, hidden, where) as opened:
            table = _rows(opened, query, hidden, where)
    finally:
        engine.dispose()
    refuse_repeated([str(name) for name in table.columns], where)
    log.info("%s: %d rows from %s", where, len(table), shown(url))
    return plain(table)


def database_url(connection: str, environment: Mapping[str, str], where: str) -> sqlalchemy.URL:
    """Return the URL with its references resolved, or raise ConfigurationError without repeating it."""
    import sqlalchemy

    try:
        return sqlalchemy.make_url(resolved(connection, environment, f"{where}.connection"))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Without its cause: what cannot be parsed cannot be searched for the password either.
        raise ConfigurationError(
            f"{where}.connection: expected a URL such as postgresql://user:password@host/database, "
            "found something else; correct it"
        ) from None


def shown(url: sqlalchemy.URL) -> str:
    """Return the URL for a message: no password and no parameters, which may hold one.

    >>> import sqlalchemy
    >>> shown(sqlalchemy.make_url("postgresql://reader:pw@db/orders?sslpassword=other"))
    'postgresql://reader:***@db/orders'
    """
    return url.set(query={}).render_as_string(hide_password=True)


def _hidden_values(url: sqlalchemy.URL, referenced: frozenset[str]) -> frozenset[str]:
    parameters = [value for held in url.query.values() for value in ([held] if isinstance(held, str) else held)]
    password = str(url.password) if url.password else ""
    return frozenset(value for value in (password, quote(password, safe=""), *parameters, *referenced) if value)


def _read_only(url: sqlalchemy.URL, root: Path) -> sqlalchemy.URL:
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return url
    # The form with mode=ro refuses writes, and does not create an empty database where a path is wrong.
    path = quote(str(root.resolve() / url.database))
    return url.set(database=f"file:{path}").update_query_dict({"mode": "ro", "uri": "true"})


def _engine(url: sqlalchemy.URL, where: str) -> sqlalchemy.Engine:
    import sqlalchemy

    try:
        return sqlalchemy.create_engine(url)
    except sqlalchemy.exc.NoSuchModuleError as err:
        raise ConfigurationError(
            f"{where}.connection: expected a database that SQLAlchemy knows, found {url.drivername}; correct the URL"
        ) from err
    except ImportError as err:
        raise ConfigurationError(
            f"{where}.connection: expected the driver of {url.drivername} to be installed, found no module {err.name}; "
            "add it to the project's dependencies"
        ) from err


def _connected(
    engine: sqlalchemy.Engine, url: sqlalchemy.URL, hidden: frozenset[str], where: str
) -> sqlalchemy.Connection:
    import sqlalchemy

    options = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
    try:
        return engine.connect().execution_options(**options)
    except sqlalchemy.exc.SQLAlchemyError as err:
        raise ServiceError(
            f"{where}: expected the database {shown(url)} to answer, found {_cause(err, hidden)}; "
            "check the address, the account and the network"
        ) from _if_harmless(err, hidden)


def _rows(connection: sqlalchemy.Connection, query: str, hidden: frozenset[str], where: str) -> pandas.DataFrame:
    import pandas
    import sqlalchemy

    # Escaped, since a colon is a parameter to SQLAlchemy, and part of a text or a cast to whoever wrote the query.
    statement = sqlalchemy.text(query.replace(":", "\\:"))
    try:
        return pandas.read_sql_query(statement, connection, dtype_backend="numpy_nullable")
    except (sqlalchemy.exc.SQLAlchemyError, pandas.errors.DatabaseError) as err:
        cause = err.__cause__ if isinstance(err.__cause__, sqlalchemy.exc.SQLAlchemyError) else err
        raise _refusal(connection, cause, hidden, where) from _if_harmless(err, hidden)


def _refusal(
    connection: sqlalchemy.Connection, err: BaseException, hidden: frozenset[str], where: str
) -> MergelineError:
    found = _cause(err, hidden)
    if _is_busy(err) or not _still_answers(connection):
        return ServiceError(f"{where}.sql: expected the database to answer, found {found}; try again when it is back")
    return DataError(f"{where}.sql: expected a query that returns rows, found {found}; correct the query")


def _still_answers(connection: sqlalchemy.Connection) -> bool:
    # Drivers disagree on which class a refused query is, so the database is asked whether it is still there.
    import sqlalchemy

    try:
        connection.rollback()
        connection.execute(sqlalchemy.select(sqlalchemy.literal(1))).all()
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    return True


def _is_busy(err: BaseException) -> bool:
    name = str(getattr(getattr(err, "orig", None), "sqlite_errorname", ""))
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR"))


def _cause(err: BaseException, hidden: frozenset[str]) -> str:
    """Return the driver's own words in one line; SQLAlchemy's would repeat the whole query."""
    words = " ".join(str(getattr(err, "orig", None) or err).split())
    for value in sorted(hidden, key=len, reverse=True):
        words = words.replace(value, "***")
    return words


def _if_harmless(err: BaseException, hidden: frozenset[str]) -> BaseException | None:
    # A traceback prints the causes too: one that repeats a password is left out.
    return None if any(value in str(err) for value in hidden) else err
