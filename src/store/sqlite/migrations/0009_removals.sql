-- What retention has removed. Events of a run before first_seq are gone; an entry of the index that points there is no damage.
ALTER TABLE runs ADD COLUMN first_seq INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;   -- 1: retention passes the run over
ALTER TABLE runs ADD COLUMN kept_checksum INTEGER;             -- over run, first_seq and held; null: none of them was ever changed

-- Where the feed of a project begins, for projects that retention has worked on. From first_pos on the log has no gap. Rows before it
-- hold the events that are still read in their runs: `log.count` counts what is left, and `log.pos` is the place that the row had.
CREATE TABLE feed_floors (
    project     INTEGER PRIMARY KEY,   -- as in the table `projects`; 0: `default`
    first_pos   INTEGER NOT NULL,      -- stored position of the first event of the feed, always the first one of a row
    counted_pos INTEGER NOT NULL,      -- `bytes` is over the rows of the log up to this one
    bytes       INTEGER NOT NULL,      -- bytes of the rows of the project
    checksum    INTEGER NOT NULL       -- over all other columns
) STRICT;
