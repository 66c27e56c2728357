"""Records what a client sends that brings its own driver, as a proxy in front of the server, and renders it for pgbench.

Like record.py, for clients whose driver Python cannot reach into. It still needs psycopg, for its own questions.
"""

import contextlib
import re
import socket
import struct
import threading

import record

_sent = []


class Statement:
    """One statement as the client sent it."""

    def __init__(self, query, params=()):
        self.query = query
        self.params = params
        # With itself, what was sent in the same transaction.
        self.transaction = [self]

    def render(self, connection, variables=None, into=""):
        """The statement with its parameters filled in.

        `variables` maps a parameter's number to pgbench text that stands for it. `into` is the pgbench command that takes
        the result.
        """

        def value(match):
            number = int(match[1])
            return (variables or {}).get(number) or _literal(connection, *self.params[number - 1])

        query = record._plain(re.sub(r"\$(\d+)", value, self.query)).strip().removesuffix(";")
        return f"{query}\n{into}\n" if into else f"{query};\n"


def _literal(connection, value, oid, is_binary):
    # The server itself reads the value, so its type may be any, also one of the peer's.
    result = connection.pgconn.exec_params(b"select format('%L::%s', $1, pg_typeof($1))", [value], [oid], [is_binary])
    if result.error_message:
        raise RuntimeError(result.error_message.decode())
    return result.get_value(0, 0).decode()


class _Session:
    """One connection of the client."""

    def __init__(self, client, server):
        self.statements = {}
        self.described = []
        self.transaction = None
        for source, target, seen in (client, server, self._ask), (server, client, self._answer):
            threading.Thread(target=self._pass, args=(source, target, seen), daemon=True).start()

    def _pass(self, source, target, seen):
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            if seen == self._ask:
                # The client's first message has no type.
                size = stream.read(4)
                target.sendall(size + stream.read(struct.unpack("!i", size)[0] - 4))
            while head := stream.read(5):
                body = stream.read(struct.unpack("!i", head[1:])[0] - 4)
                seen(head[:1], body)
                target.sendall(head + body)
            target.shutdown(socket.SHUT_WR)

    def _ask(self, kind, body):
        if kind == b"Q":
            self._add(Statement(body[:-1].decode()))
        elif kind == b"P":
            name, query, rest = body.split(b"\0", 2)
            self.statements[name] = query.decode(), _numbers(rest, "I")[0]
        elif kind == b"D" and body.startswith(b"S"):
            self.described.append(body[1:-1])
        elif kind == b"B":
            _, name, rest = body.split(b"\0", 2)
            query, oids = self.statements[name]
            values, formats = _values(rest)
            self._add(Statement(query, list(zip(values, oids, formats, strict=True))))

    def _answer(self, kind, body):
        if kind == b"t":
            # What the client left open in its statement, the server has worked out.
            name = self.described.pop(0)
            self.statements[name] = self.statements[name][0], _numbers(body, "I")[0]

    def _add(self, statement):
        word = statement.query.strip().lower().removesuffix(";")
        if word == "begin":
            self.transaction = []
        elif word in ("commit", "rollback"):
            self.transaction = None
        else:
            if self.transaction is not None:
                self.transaction.append(statement)
                statement.transaction = self.transaction
            _sent.append(statement)


def _numbers(data, of):
    """A count and as many numbers; and what follows."""
    (count,) = struct.unpack_from("!h", data)
    numbers = struct.Struct(f"!{count}{of}")
    return list(numbers.unpack_from(data, 2)), data[2 + numbers.size :]


def _values(data):
    formats, data = _numbers(data, "h")
    (count,) = struct.unpack_from("!h", data)
    at, values = 2, []
    for _ in range(count):
        (size,) = struct.unpack_from("!i", data, at)
        at += 4
        values.append(None if size < 0 else data[at : at + size])
        at += max(size, 0)
    # One format stands for all, none means text.
    return values, formats if len(formats) == count else (formats or [0]) * count


def listen(connection):
    """A port on 127.0.0.1 behind which lies the server of `connection`."""
    host, port = connection.info.host, connection.info.port
    listener = socket.create_server(("127.0.0.1", 0))

    def connected():
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def accept():
        while True:
            client, _ = listener.accept()
            _Session(client, connected())

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def forget():
    """Forgets what was sent so far."""
    _sent.clear()


def found(pattern):
    """What was sent and matches; of one text, the last."""
    return list({s.query: s for s in list(_sent) if re.search(pattern, s.query, re.I | re.S)}.values())


def only(pattern):
    """The one text that was sent and matches.

    Anything else is an error: a peer whose client works in another way than this adapter knows is not measured.
    """
    statements = found(pattern)
    if len(statements) != 1:
        raise RuntimeError(f"{len(statements)} statements match {pattern}, not one, of {len(_sent)} that were sent")
    return statements[0]
