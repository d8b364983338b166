-- Which part of the feed was written to which server of PostgreSQL, since it was started last: a standby that is promoted, or
-- a copy that is put back, begins a new epoch, so that cursors of what it lacks are known. The first row stands for all that
-- was written before; programs of version 4 go on without this table.
CREATE TABLE epochs (
    epoch   bigint CONSTRAINT epochs_epoch PRIMARY KEY,   -- ascending
    id      bigint NOT NULL,                              -- random, 0 in the first row; cursors of the feed carry it
    start   bigint NOT NULL,                              -- position of the feed after which it begins
    lineage text                                          -- timeline and start of the server; null: not known yet
);

INSERT INTO epochs (epoch, id, start) VALUES (1, 0, 0);
