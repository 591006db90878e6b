"""The database of a question: DuckDB in memory, which can reach nothing else, asked under a time limit.

Whoever imports this brings DuckDB along, which takes longer than most questions do. So `queries.engine` imports it
where a database is made, beside the search for the first rows, and the command line while a password is stretched.
"""

from __future__ import annotations

import threading

import duckdb
import pyarrow as pa

from queries.questions import Limits, Question, QuestionError

_CLOSED = {
    "temp_directory": "",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}
# Global: each answer has a connection of its own. Locked last: no setting can be changed after it.
_LOCKS = ("SET GLOBAL TimeZone = 'UTC'", "SET enable_external_access = false", "SET lock_configuration = true")
_OUR_MISTAKES = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.SyntaxException)
_SELECTS: dict[str, duckdb.Statement] = {}
"""The questions that were found to be one SELECT each, as DuckDB reads them: no more than there are files of them."""


def locked(limits: Limits) -> duckdb.DuckDBPyConnection:
    """A new database that reaches nothing, and whose settings stay as they are."""
    config: dict[str, str | bool | int | float | list[str]] = {**_CLOSED}
    config |= {"memory_limit": limits.memory, "threads": limits.threads}
    connection = duckdb.connect(config=config)
    for statement in _LOCKS:
        connection.execute(statement)
    return connection


def ask(
    connection: duckdb.DuckDBPyConnection, question: Question, parameters: dict[str, object], limits: Limits
) -> pa.Table:
    """Runs the one statement of `question` under a watchdog: DuckDB has no time limit of its own.

    Raises `QuestionError` when it is not one SELECT, is wrong, or goes over its limits.
    """
    watchdog = threading.Timer(limits.seconds, connection.interrupt)
    watchdog.daemon = True
    try:
        select = _SELECTS.get(question.text)
        if select is None:
            statements = connection.extract_statements(question.text)
            if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
                raise QuestionError(f"asking {question.name}: a question is exactly one SELECT")
            select = _SELECTS[question.text] = statements[0]
        watchdog.start()
        return connection.sql(select, params=parameters or None).to_arrow_table()
    except duckdb.InterruptException:
        problem = f"it took longer than {limits.seconds:g} seconds; ask for a shorter window"
    except duckdb.OutOfMemoryException:
        problem = f"it needs more than {limits.memory} of memory; ask for a shorter window or raise the limit"
    except _OUR_MISTAKES as mistake:
        problem = f"its SQL is wrong: {str(mistake).splitlines()[0]}"
    except duckdb.Error as mistake:
        # DuckDB quotes the value it stumbled on, so its words are not passed on.
        problem = f"DuckDB stopped with {type(mistake).__name__}"
    finally:
        watchdog.cancel()
        if watchdog.ident is not None:
            watchdog.join()
    # Outside the handlers: chained to nothing, so that no traceback shows DuckDB's words either.
    raise QuestionError(f"asking {question.name}: {problem}")
