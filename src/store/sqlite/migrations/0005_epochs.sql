-- Which part of the feed was written by which opening of the store. A file that is put back as it was before lacks the later
-- ones, so that cursors of what is lost are known. What was written before this table has no epoch.
CREATE TABLE epochs (
    epoch    INTEGER PRIMARY KEY,   -- ascending
    id       INTEGER NOT NULL,      -- random, not 0; cursors of the feed carry it
    start    INTEGER NOT NULL,      -- position of the feed after which it begins
    checksum INTEGER NOT NULL       -- over the other columns
) STRICT;
