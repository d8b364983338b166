-- The log. A row holds the events of (a part of) one commit as they are sent to readers: `data` is the protobuf encoding
-- of runlog.v1.EventBatch. Rows are only ever added at the end, so a commit writes few pages however many runs it spans.
CREATE TABLE log (
    pos       INTEGER PRIMARY KEY,  -- place of the row's first event in the feed of all runs: 1, 2, 3 … in commit order
    count     INTEGER NOT NULL,     -- events in the row
    sensitive INTEGER NOT NULL,     -- 1: the public view of some event may leave something out
    data      BLOB    NOT NULL
) STRICT;

-- Where the events of a run lie. Filled behind the log in sorted bulk, up to store.sealed_pos; what comes after that is
-- found by reading the end of the log once, at start.
CREATE TABLE run_index (
    run       INTEGER NOT NULL,     -- runs.run
    seq       INTEGER NOT NULL,     -- seq of the first event
    count     INTEGER NOT NULL,     -- neighbouring events that this entry covers
    pos       INTEGER NOT NULL,     -- log.pos of the row that holds them
    start     INTEGER NOT NULL,     -- first byte of them in log.data
    length    INTEGER NOT NULL,     -- bytes
    sensitive INTEGER NOT NULL,     -- as in the log
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- Ids that producers gave, by the XXH3 hash of the text; two ids of one hash have two rows. Filled like run_index. Ids
-- that the store gave are not here: they tell where their event lies.
CREATE TABLE event_ids (
    hash INTEGER NOT NULL,
    run  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (hash, run, seq)
) STRICT, WITHOUT ROWID;

-- What the events of a run add up to, changed in the transaction that stores them. Times are RFC 3339.
CREATE TABLE runs (
    run          INTEGER PRIMARY KEY,  -- 1, 2, 3 … in the order of creation
    run_id       TEXT    NOT NULL UNIQUE,
    status       INTEGER NOT NULL,     -- number of runlog.v1.RunStatus
    last_seq     INTEGER NOT NULL,
    agent_name   TEXT,
    structure_id TEXT,
    created_at   TEXT    NOT NULL,
    updated_at   TEXT    NOT NULL,
    started_at   TEXT,
    completed_at TEXT,
    usage        TEXT,                 -- JSON; null until something was reported
    ended_by     TEXT,                 -- type of the event that gave the final status
    output_at    TEXT                  -- when the output was recorded
) STRICT;

-- Runs are listed and counted by structure; runs without one have no entry.
CREATE INDEX runs_by_structure ON runs (structure_id, run) WHERE structure_id IS NOT NULL;

-- The parts of a run that may be large and seldom change.
CREATE TABLE run_documents (
    run  INTEGER NOT NULL,
    kind TEXT    NOT NULL,             -- output, error, pending_input, status_detail
    json TEXT,                         -- null: none any more
    PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;

-- One row about the store itself.
CREATE TABLE store (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    feed_id    INTEGER NOT NULL,       -- random; cursors of the feed carry it
    sealed_pos INTEGER NOT NULL        -- run_index and event_ids cover the log up to this position
) STRICT;

INSERT INTO store (id, feed_id, sealed_pos) VALUES (1, abs(random() % 4294967296), 0);
