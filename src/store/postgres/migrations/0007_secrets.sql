-- Random bytes that all replicas sign with, made when they are first needed and never changed. Deleting a row ends all that it
-- signed, within a minute. Programs of version 6 do not know this table, and refuse stream tokens.
CREATE TABLE secrets (
    name       text COLLATE "C" CONSTRAINT secrets_name PRIMARY KEY, -- what is signed: 'stream_tokens'
    value      bytea NOT NULL,    -- 32 bytes
    created_ms bigint NOT NULL,   -- Unix time in milliseconds
    checksum   bigint NOT NULL    -- over all other columns
);
