"""The yardstick of ingest: the same events into SQLite, each batch durable. Prints seconds.

Only the inserting is timed: the rows are in memory before. Python's own part is about a tenth of it.
"""
import sqlite3
import sys
import time

BATCH = 5000

with open(sys.argv[1], "rb") as lines:
    rows = [(b"lunana-bhu", seq, line) for seq, line in enumerate(lines, 1)]
database = sqlite3.connect(sys.argv[2], isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute("PRAGMA cache_size=-1024")
database.execute("CREATE TABLE event (origin BLOB, seq INTEGER, payload BLOB, PRIMARY KEY (origin, seq)) WITHOUT ROWID")
begun = time.perf_counter()
for first in range(0, len(rows), BATCH):
    database.execute("BEGIN")
    database.executemany("INSERT INTO event VALUES (?, ?, ?)", rows[first : first + BATCH])
    database.execute("COMMIT")
print(time.perf_counter() - begun)
