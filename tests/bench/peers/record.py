"""Records what a client sends through psycopg, and renders it as statements for pgbench.

The prepare scripts put this folder on the path of the Python that has the peer installed.
"""

import re

import psycopg

_sent = []


class Statement:
    """One statement as the client sent it."""

    def __init__(self, cursor, query, params):
        self.query = query.decode() if isinstance(query, bytes) else query
        self.params = params
        self.autocommit = cursor.connection.autocommit
        if isinstance(cursor, psycopg.AsyncRawCursor | psycopg.RawCursor) and params:
            self.query = re.sub(r"\$(\d+)", r"%(\1)s", self.query.replace("%", "%%"))
            self.params = {str(n): value for n, value in enumerate(params, 1)}
        elif isinstance(params, list | tuple):
            numbers = iter(range(1, len(params) + 1))
            self.query = re.sub("%s", lambda _: f"%({next(numbers)})s", self.query)
            self.params = {str(n): value for n, value in enumerate(params, 1)}

    def render(self, connection, variables=None, gset=""):
        """The statement with its parameters filled in, in a transaction if the client opens one.

        `variables` maps a parameter's name or number to pgbench text that stands for it.
        """
        query = self.query
        for name, text in (variables or {}).items():
            query = query.replace(f"%({name})s", text)
        if self.params:
            query = psycopg.ClientCursor(connection).mogrify(query, self.params)
        query = _plain(query).strip().removesuffix(";")
        query = f"{query}\n\\gset {gset}" if gset else f"{query};"
        return f"{query}\n" if self.autocommit else f"begin;\n{query}\ncommit;\n"


def _plain(query):
    """Without comments, and with literals in which pgbench finds no variable: it looks for :name also inside quotes."""

    def token(match):
        text = match.group()
        if text.startswith(("--", "/*")):
            return " "
        if text.startswith('"') or ":" not in text:
            return text
        if text.startswith("'"):
            text = "E" + text.replace("\\", "\\\\")
        return text.replace(":", "\\x3a")

    return re.sub(r"""--[^\n]*|/\*.*?\*/|"[^"]*"|\bE'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'""", token, query, flags=re.S)


def _patch():
    sync_execute, async_execute = psycopg.Cursor.execute, psycopg.AsyncCursor.execute

    def execute(self, query, params=None, **options):
        _sent.append(Statement(self, query, params))
        return sync_execute(self, query, params, **options)

    async def aexecute(self, query, params=None, **options):
        _sent.append(Statement(self, query, params))
        return await async_execute(self, query, params, **options)

    psycopg.Cursor.execute, psycopg.AsyncCursor.execute = execute, aexecute


def forget():
    """Forgets what was sent so far."""
    _sent.clear()


def only(pattern):
    """The one text that was sent and matches.

    Anything else is an error: a peer whose client works in another way than this adapter knows is not measured.
    """
    found = {str(s.query): s for s in _sent if isinstance(s.query, str) and re.search(pattern, s.query, re.I | re.S)}
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} statements match {pattern}, not one, of {len(_sent)} that were sent")
    return next(iter(found.values()))


_patch()
