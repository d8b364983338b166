-- Projects other than `default`, which has the number 0 and its values in the table `store`. The upper bits of a number say whose it
-- is, in all tables: `log.pos` is project * 2^40 + position in the feed of the project, `runs.run` is project * 2^32 + number of the
-- run in the project, `epochs.epoch` is project * 2^32 + number of the epoch. `runs.run_id` of another project than `default` is the
-- number of the project, a line feed, and the id.
CREATE TABLE projects (
    project    INTEGER PRIMARY KEY,   -- 1 to 9,999, by chance
    name       TEXT    NOT NULL UNIQUE,
    feed_id    INTEGER NOT NULL,      -- random; cursors of the feed carry it
    sealed_pos INTEGER NOT NULL,      -- run_index and id segments cover the log of the project up to this log.pos
    checksum   INTEGER NOT NULL       -- over all other columns
) STRICT;
