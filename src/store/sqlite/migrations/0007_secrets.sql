-- Random bytes that the server signs with, made when they are first needed and never changed. Deleting a row ends all that it signed.
CREATE TABLE secrets (
    name       TEXT PRIMARY KEY,   -- what is signed: 'stream_tokens'
    value      BLOB NOT NULL,      -- 32 bytes
    created_ms INTEGER NOT NULL,   -- Unix time in milliseconds
    checksum   INTEGER NOT NULL    -- over all other columns
) STRICT, WITHOUT ROWID;
