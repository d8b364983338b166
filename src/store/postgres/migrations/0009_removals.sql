-- Retention and erasure: events that lose their payload or go as a whole. Programs of version 8 go on writing, but take an event
-- without payload for a damaged one, and know no first event of a run or feed: update every replica before retention is switched
-- on, or an event is erased.
--
-- Locks of tables are taken in the order of a commit (`run_documents`, `events`), so that no commit and this migration wait for
-- each other.

-- Statistics would keep samples of documents where no erasure finds them. The change of the type, to the same one, drops those
-- that there are.
ALTER TABLE run_documents ALTER COLUMN json SET STATISTICS 0, ALTER COLUMN json TYPE text;

-- Why the payload is `{}`: number of runlog.v1.Removal. Null: the payload is as sent. Part of the checksum.
ALTER TABLE events ADD COLUMN removal smallint;

-- Runs that have lost their first events, or are held. No commit changes these rows, so no commit waits for a removal.
CREATE TABLE run_retention (
    run       bigint  CONSTRAINT run_retention_run PRIMARY KEY,   -- runs.run
    first_seq bigint  NOT NULL,   -- the first event that is kept; rows of `events` before it only fill the feed
    held      boolean NOT NULL    -- retention passes the run over
);

-- Feeds that a removal has changed. Whoever changes a row holds the advisory lock of removals of the project.
CREATE TABLE feed_retention (
    id          smallint CONSTRAINT feed_retention_id PRIMARY KEY,   -- feed.id
    first_pos   bigint NOT NULL,   -- the first event of the feed; rows of `events` before it are read in their run only
    removals    bigint NOT NULL,   -- number of changes: replicas drop what they have in memory
    counted_pos bigint NOT NULL,   -- `bytes` counts up to this event
    bytes       bigint NOT NULL    -- sum of events.bytes
) WITH (fillfactor = 50);
