-- A checksum for what is served and for what is trusted when something is served or stored: XXH3 in 64 bits, see
-- src/store/checksum.rs. What an older program wrote has none.
ALTER TABLE log ADD COLUMN checksum INTEGER;         -- over pos, count, sensitive and data

-- The row of the store itself: over its other columns.
ALTER TABLE store ADD COLUMN checksum INTEGER;

-- Rows of the log from this position on have a checksum; one without is damaged.
ALTER TABLE store ADD COLUMN checked_from INTEGER NOT NULL DEFAULT 1;

UPDATE store SET checked_from = coalesce((SELECT pos + count FROM log ORDER BY pos DESC LIMIT 1), 1);

-- Runs are listed, ended and continued by their rows. A seal writes only how far a run goes, so that has a checksum of its own.
ALTER TABLE runs ADD COLUMN checksum INTEGER;        -- over all but last_seq, updated_at and end_checksum
ALTER TABLE runs ADD COLUMN end_checksum INTEGER;    -- over run, status, last_seq and updated_at
ALTER TABLE run_documents ADD COLUMN checksum INTEGER;

-- An id that is not found is stored again.
ALTER TABLE id_segments ADD COLUMN checksum INTEGER; -- over segment, blocks, places, max_run and live
ALTER TABLE id_blocks ADD COLUMN checksum INTEGER;
ALTER TABLE id_filters ADD COLUMN checksum INTEGER;
