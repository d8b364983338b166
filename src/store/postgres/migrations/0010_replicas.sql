-- Memory of replicas, for erasures, and releases of runs, for retention.

ALTER TABLE feed_retention
    ADD COLUMN releases bigint NOT NULL DEFAULT 0;   -- number of runs released from a hold: retention begins again with the first event

-- Replicas that may serve events from memory, and so may hold payloads that are removed. An erasure waits for them.
CREATE TABLE replicas (
    name text        CONSTRAINT replicas_name PRIMARY KEY,   -- random, of one start of a server
    seen pg_snapshot NOT NULL   -- its memory has nothing that a transaction before this snapshot removed
);
