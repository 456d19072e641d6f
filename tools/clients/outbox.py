#!/usr/bin/env python3
"""An outbox: an application's SQLite table drained into zbundle, every row exactly once.

The application writes what it wants to send into `zb_outbox` in the same transaction as its own change: so both are there, or none. This program pushes
each row under the row's own idempotency key and then notes the event's id in the row. It may be killed anywhere, and so may zbundle and the machine:
what was pushed and not noted is pushed again under the same key, and zbundle tells the id it has already.

    sqlite3 app.db < <(python3 outbox.py schema)
    INSERT INTO zb_outbox (type, key, payload) VALUES ('vitals', 'Patient/BT-0042', '{"bp":"120/80"}');     -- in the application's transaction
    python3 outbox.py drain app.db unix:/var/lib/zbundle/http.sock          # from a timer, or with --stay as a service of its own

A row that the node refuses (not JSON, against the schema) keeps the reason in `refused` and holds up no other; mend it and set `refused` to NULL. Run one
drain at a time per table: two would push nothing twice, but one could wait for the other.
"""
import argparse
import os
import sqlite3
import sys
import time

from zbundle import Node, Refused, Unreachable

SCHEMA = """\
CREATE TABLE IF NOT EXISTS zb_outbox (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,                       -- the order in which they are pushed
    idempotency_key TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))), -- not the number: a restored database counts from an old one again
    type            TEXT NOT NULL DEFAULT 'record',
    key             TEXT,                                                    -- the record it is about
    lane            TEXT NOT NULL DEFAULT 'routine',
    content_type    TEXT NOT NULL DEFAULT 'application/json',
    author          TEXT,
    payload         BLOB NOT NULL,                                           -- text is sent as UTF-8
    event_id        TEXT,                                                    -- set: it is on the node's disk
    refused         TEXT                                                     -- set: why the node does not take it
);
CREATE INDEX IF NOT EXISTS zb_outbox_waiting ON zb_outbox (number) WHERE event_id IS NULL AND refused IS NULL;
"""
WAITING = """\
SELECT number, idempotency_key, type, key, lane, content_type, author, payload FROM zb_outbox
WHERE event_id IS NULL AND refused IS NULL ORDER BY number LIMIT 1"""


def drain(database, node):
    """Push what waits, in its order; how many were pushed and how many refused."""
    pushed = refused = 0
    while True:
        rows = database.execute(WAITING).fetchall()  # read to its end: nothing is locked while the node is asked
        if not rows:
            return pushed, refused
        number, idempotency_key, kind, key, lane, content_type, author, payload = rows[0]
        payload = payload.encode() if isinstance(payload, str) else payload
        fields = {"type": kind, "key": key, "lane": lane, "author": author}
        try:
            stored = node.push(payload, idempotency_key=idempotency_key, content_type=content_type, **fields)
        except Refused as why:
            if why.status in (401, 421):  # not the row's fault
                raise
            refused += 1
            _note(database, "refused", str(why), number)
        else:
            pushed += 1
            _note(database, "event_id", stored["id"], number)


def _note(database, column, value, number):
    with database:
        database.execute(f"UPDATE zb_outbox SET {column} = ? WHERE number = ?", (value, number))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["schema", "drain"])
    options.add_argument("database", nargs="?")
    options.add_argument("address", nargs="?", help="unix:PATH, or http://127.0.0.1:PORT with the token in ZBUNDLE_TOKEN")
    options.add_argument("--stay", type=float, metavar="SECONDS", help="look again so often instead of ending")
    given = options.parse_args()
    if given.what == "schema":
        print(SCHEMA, end="")
        return 0
    if not given.database or not given.address:
        options.error("drain needs the database and the address")
    database = sqlite3.connect(given.database, timeout=60)  # the application may be writing
    node = Node(given.address, os.environ.get("ZBUNDLE_TOKEN"))
    while True:
        try:
            pushed, refused = drain(database, node)
        except (Refused, Unreachable) as error:
            print(f"not now: {error}", file=sys.stderr)
            if given.stay is None:
                return 16
        else:
            if pushed or refused:
                print(f"{pushed} pushed, {refused} refused", flush=True)
            if given.stay is None:
                return 3 if refused else 0
        time.sleep(given.stay)


if __name__ == "__main__":
    sys.exit(main())
