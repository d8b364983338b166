-- One row about the feed of all runs. Whoever commits holds it from the moment that positions are given to the end of
-- the commit, so that positions are gapless and their order is the order in which commits become visible.
CREATE TABLE feed (
    id       smallint CONSTRAINT feed_one_row PRIMARY KEY CHECK (id = 1),
    feed_id  bigint   NOT NULL,      -- random; cursors of the feed carry it
    last_pos bigint   NOT NULL       -- position of the last event
) WITH (fillfactor = 10);            -- updated with every commit, in place

INSERT INTO feed (id, feed_id, last_pos) VALUES (1, floor(random() * 4294967296)::bigint, 0);

-- Numbers of runs: in the order of creation, with gaps where a commit failed.
CREATE SEQUENCE run_numbers AS bigint;

-- What the events of a run add up to, changed in the transaction that stores them. Times are RFC 3339 with all their
-- digits: timestamptz ends at microseconds.
CREATE TABLE runs (
    run          bigint             CONSTRAINT runs_run PRIMARY KEY,
    run_id       text COLLATE "C"   NOT NULL CONSTRAINT runs_run_id UNIQUE,
    status       bigint             NOT NULL,   -- number of runlog.v1.RunStatus
    last_seq     bigint             NOT NULL,
    agent_name   text COLLATE "C",
    structure_id text COLLATE "C",
    created_at   text               NOT NULL,
    updated_at   text               NOT NULL,
    started_at   text,
    completed_at text,
    usage        text,                          -- JSON; null until something was reported
    ended_by     text,                          -- type of the event that gave the final status
    output_at    text                           -- when the output was recorded
) WITH (fillfactor = 70);

-- Runs are listed and counted by structure; runs without one have no entry.
CREATE INDEX runs_by_structure ON runs (structure_id, run) WHERE structure_id IS NOT NULL;

-- The parts of a run that may be large and seldom change. `text`, since its length is known without reading it.
CREATE TABLE run_documents (
    run  bigint NOT NULL,
    kind text   NOT NULL,            -- output, error, pending_input, status_detail
    json text,                       -- null: none any more
    CONSTRAINT run_documents_run_kind PRIMARY KEY (run, kind)
);

-- The log. Rows are only ever added.
CREATE TABLE events (
    pos         bigint           NOT NULL,   -- place in the feed of all runs: 1, 2, 3 … in commit order
    run         bigint           NOT NULL,   -- runs.run
    seq         bigint           NOT NULL,   -- place in the run: 1, 2, 3 …
    occurred_s  bigint           NOT NULL,   -- times: seconds since 1970 rounded down, and nanoseconds
    recorded_s  bigint           NOT NULL,
    occurred_ns integer          NOT NULL,
    recorded_ns integer          NOT NULL,
    bytes       integer          NOT NULL,   -- of the event as it is sent to readers: bounds a page before it is read
    status      smallint         NOT NULL,   -- of the run after this event
    origin      smallint         NOT NULL,   -- number of runlog.v1.EventOrigin
    given       boolean          NOT NULL,   -- the producer gave the id; else it tells its place and needs no index
    sensitive   boolean          NOT NULL,   -- the public view may leave something out
    event_id    text COLLATE "C" NOT NULL,
    event_type  text COLLATE "C" NOT NULL,
    agent_name  text COLLATE "C",
    payload     json             NOT NULL,   -- never jsonb: the text is kept as sent
    CONSTRAINT events_pos PRIMARY KEY (pos),
    CONSTRAINT events_run_seq UNIQUE (run, seq)
);

CREATE UNIQUE INDEX events_given_id ON events (event_id, run) WHERE given;
