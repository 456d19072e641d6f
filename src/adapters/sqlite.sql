-- Made by zbundle from its log, and made again whenever it is lost: never write here. What the columns mean: docs/sql.md.
CREATE TABLE setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE origin (
    origin TEXT NOT NULL, branch TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, lane TEXT NOT NULL,
    seq INTEGER NOT NULL, hash BLOB, counted INTEGER NOT NULL, lacking TEXT NOT NULL, PRIMARY KEY (origin, branch)
) WITHOUT ROWID;
CREATE TABLE event (
    id TEXT NOT NULL UNIQUE, origin TEXT NOT NULL, branch TEXT NOT NULL, seq INTEGER NOT NULL, lane TEXT NOT NULL, hlc INTEGER NOT NULL,
    time TEXT, type TEXT NOT NULL, record TEXT, base TEXT, op TEXT NOT NULL, orig TEXT, content_type TEXT NOT NULL, author TEXT,
    idempotency_key TEXT, len INTEGER NOT NULL, sha256 TEXT NOT NULL, payload, counts INTEGER NOT NULL
);
-- Of an event that stands on several branches of its history: where, each time; its row is on the first of them.
CREATE TABLE event_also (
    id TEXT NOT NULL, origin TEXT NOT NULL, branch TEXT NOT NULL, record TEXT, seq INTEGER NOT NULL, counts INTEGER NOT NULL, PRIMARY KEY (id, branch)
) WITHOUT ROWID;
CREATE INDEX event_also_record ON event_also (record, origin, branch, seq) WHERE record IS NOT NULL;
CREATE INDEX event_record ON event (record, origin, branch, seq) WHERE record IS NOT NULL;
CREATE INDEX event_push ON event (idempotency_key, id) WHERE idempotency_key IS NOT NULL;
-- Repetitions after a loss, and those that name another node's event: with them a record's heads are worked out from all its versions.
CREATE INDEX event_repeat ON event (record, orig) WHERE orig IS NOT NULL;
CREATE INDEX event_stray ON event (record, origin) WHERE orig IS NOT NULL AND base IS NULL AND substr(orig, 1, 17) <> substr(id, 1, 17);
CREATE INDEX event_notice ON event (hlc) WHERE type = 'zbundle.conflict';
CREATE TABLE record (
    record TEXT PRIMARY KEY, state TEXT NOT NULL, shown TEXT NOT NULL, head_count INTEGER NOT NULL, circular INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX record_state ON record (state, record);
-- The head with the greatest rank is displayed; heads with one content say the same.
CREATE TABLE record_head (record TEXT NOT NULL, rank BLOB NOT NULL, id TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (record, rank)) WITHOUT ROWID;
CREATE INDEX record_head_content ON record_head (record, content);
CREATE TABLE record_waiting (id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (id, record)) WITHOUT ROWID;
CREATE INDEX record_waiting_record ON record_waiting (record);
-- Days are counted from 1970, by the writer's clock.
CREATE TABLE activity (node TEXT NOT NULL, day INTEGER NOT NULL, events INTEGER NOT NULL, PRIMARY KEY (node, day)) WITHOUT ROWID;
-- What the node remembers beside its log. Times in milliseconds since 1970 by our clock, NULL when never.
CREATE TABLE peer (
    node TEXT PRIMARY KEY, name TEXT NOT NULL, heard INTEGER, path TEXT, silent_after INTEGER NOT NULL, held INTEGER NOT NULL,
    lacking INTEGER NOT NULL, acknowledged INTEGER NOT NULL, unacknowledged INTEGER NOT NULL, address TEXT, settled INTEGER, via TEXT
) WITHOUT ROWID;
CREATE TABLE bundle (number INTEGER PRIMARY KEY, state TEXT NOT NULL, node TEXT, events INTEGER, digest TEXT, code TEXT, reason TEXT, file TEXT);
CREATE VIEW conflict AS
    SELECT h.record, h.id = r.shown AS shown, e.id, o.name || ':' || e.seq AS name, e.time, e.type, e.op, e.author, e.payload
    FROM record r JOIN record_head h ON h.record = r.record JOIN event e ON e.id = h.id
    JOIN origin o ON o.origin = e.origin AND o.branch = e.branch WHERE r.state = 'conflict';
CREATE VIEW current AS
    SELECT r.record, r.state, r.head_count, e.id, o.node, e.time, e.type, e.author, e.content_type, e.payload
    FROM record r JOIN event e ON e.id = r.shown JOIN origin o ON o.origin = e.origin AND o.branch = e.branch WHERE r.state <> 'deleted';
