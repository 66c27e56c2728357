"""What ../README.md lists, with psycopg 3. DATABASE_URL says where; POOLED=1: through a pooler."""

import os
import threading
import uuid
from datetime import datetime, timedelta, timezone

import psycopg
from psycopg.types.json import Jsonb

POOLED = os.environ.get("POOLED") == "1"
TEXT = 'It\'s "quoted", \\ slashed,\nin two lines, with ünïcode and 🃏'
NAMES = ["a,b", '"quoted"', "{braced}", "back\\slash", "NULL", "ünï"]
DOCUMENT = {"text": TEXT, "list": [1, 2.5, None, True], "deep": {"empty": {}}, "big": 9007199254740993}


def connect():
    # A pooler that hands out connections by the transaction may know nothing of prepared statements.
    return psycopg.connect(
        os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=None if POOLED else 5
    )


def one(connection, query, **arguments):
    rows = connection.cursor(row_factory=psycopg.rows.dict_row).execute(query, arguments).fetchall()
    assert len(rows) == 1, rows
    return rows[0]


def create(connection, id, **arguments):
    names = "".join(f", {name} => %({name})s" for name in arguments)
    return one(connection, f"select * from mosaic.backlog_create('t', id => %(id)s{names})", id=id, **arguments)


def arguments(c):
    create(c, "Needed")
    not_before = datetime(2020, 2, 29, 23, 59, 58, 123456, timezone(timedelta(hours=5, minutes=30)))
    given = {
        "title": "Every argument", "id": "Every/1", "body": TEXT, "phase": "build", "priority": -7,
        "depends_on": ["Needed"], "labels": NAMES, "requires": ["gpu"], "acceptance": Jsonb(DOCUMENT),
        "idempotency_key": "key 1", "not_before": not_before, "max_attempts": 3, "actor": "planner",
    }
    names = ", ".join(f"{name} => %({name})s" for name in given)
    query = f"select * from mosaic.backlog_create({names})"
    row = one(c, query, **given)
    for name in ["title", "id", "body", "phase", "priority", "depends_on", "requires", "max_attempts"]:
        assert row[name] == given[name], (name, row[name])
    assert sorted(row["labels"]) == sorted(NAMES), row["labels"]
    assert row["acceptance"] == DOCUMENT, row["acceptance"]
    assert row["not_before"] == not_before, row["not_before"]
    assert row["status"] == "ready" and row["open_dependencies"] == 1 and row["created"] is True
    assert one(c, query, **given)["created"] is False


def nulls(c):
    row = create(c, "Null", body=None, acceptance=None, not_before=None, max_attempts=None)
    for name in ["body", "phase", "acceptance", "not_before", "max_attempts", "claim_token", "result"]:
        assert row[name] is None, (name, row[name])
    assert row["labels"] == [] and row["depends_on"] == []
    assert c.execute("select from mosaic.backlog_claim('w', labels => %s)", [["none"]]).fetchall() == []


def claim(c):
    create(c, "Claimed", requires=["gpu", "ssd"])
    row = one(
        c,
        "select * from mosaic.backlog_claim(%(worker)s, %(ttl)s, id => 'Claimed', offers => %(offers)s)",
        worker="w1", ttl=timedelta(seconds=90), offers=["ssd", "gpu", "net"],
    )
    assert isinstance(row["claim_token"], int) and row["dependencies"] == []
    assert row["claim_expires_at"] - row["claimed_at"] == timedelta(seconds=90)
    return row["claim_token"]


def renew(c, token):
    before = datetime.now(timezone.utc)
    (until,) = c.execute("select mosaic.backlog_renew('Claimed', %s, %s)", [token, timedelta(hours=2)]).fetchone()
    assert timedelta(hours=1.9) < until - before < timedelta(hours=2.1), until


def stale(c, token):
    try:
        c.execute("select from mosaic.backlog_complete('Claimed', %s)", [token + 1000])
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        assert error.sqlstate == "55000"
        assert error.diag.message_detail.startswith("claim_lost: "), error.diag.message_detail
        assert error.diag.message_hint
    else:
        raise AssertionError("a stale token was accepted")


def complete(c, token):
    create(c, "After", depends_on=["Claimed"])
    query = "select * from mosaic.backlog_complete('Claimed', %(token)s, %(result)s)"
    for unblocked in [["After"], []]:
        row = one(c, query, token=token, result=Jsonb(DOCUMENT))
        assert row["status"] == "done" and row["result"] == DOCUMENT
        assert row["unblocked"] == unblocked or unblocked == [], row["unblocked"]
    given = one(c, "select dependencies from mosaic.backlog_claim('w', id => 'After')")["dependencies"]
    assert given == [{"id": "Claimed", "title": "t", "result": DOCUMENT}], given


def events(c):
    seen, cursor = [], None
    while rows := c.execute(
        "select event_id, kind, detail, cursor from mosaic.backlog_events('Claimed', after => %s, max_events => 2)",
        [cursor],
    ).fetchall():
        assert len(rows) <= 2 and all(isinstance(row[2], dict) for row in rows)
        seen += rows
        cursor = rows[-1][3]
    assert [row[1] for row in seen] == ["created", "claimed", "renewed", "completed"], seen
    assert len({row[0] for row in seen}) == 4


def repeat(c):
    create(c, "Repeated")
    query = "select id, claim_token from mosaic.backlog_claim('w', id => 'Repeated', request_id => %(request)s)"
    request = uuid.uuid4()
    assert one(c, query, request=request) == one(c, query, request=request)


def transaction(c):
    create(c, "Undone")
    with c.transaction(force_rollback=True):
        token = one(c, "select claim_token from mosaic.backlog_claim('w', id => 'Undone')")["claim_token"]
        c.execute("select mosaic.backlog_assert_held('Undone', %s)", [token])
    assert one(c, "select status from mosaic.backlog_get('Undone')")["status"] == "ready"


def race(c):
    c.execute("select from mosaic.backlog_create_many(%s)", [Jsonb([{"title": "t", "labels": ["race"]}] * 40)])
    claimed, barrier = [[], []], threading.Barrier(2)

    def work(number):
        with connect() as own:
            barrier.wait()
            while rows := own.execute(
                "select id from mosaic.backlog_claim(%s, labels => %s)", [f"w{number}", ["race"]]
            ).fetchall():
                claimed[number] += rows

    threads = [threading.Thread(target=work, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed[0]) + len(claimed[1]) == 40, claimed
    assert len(set(claimed[0] + claimed[1])) == 40, claimed


def prepared(c):
    for number in range(20):
        row = c.execute(
            "select id, priority from mosaic.backlog_create('t', id => %s, priority => %s)",
            [f"P{number}", number],
            prepare=not POOLED,
        ).fetchone()
        assert row == (f"P{number}", number), row


with connect() as c:
    arguments(c)
    print("arguments")
    nulls(c)
    print("nulls")
    token = claim(c)
    print("claim")
    renew(c, token)
    print("renew")
    stale(c, token)
    print("stale")
    complete(c, token)
    print("complete")
    events(c)
    print("events")
    repeat(c)
    print("repeat")
    transaction(c)
    print("transaction")
    race(c)
    print("race")
    prepared(c)
    print("prepared")
