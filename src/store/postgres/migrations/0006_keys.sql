-- Keys of callers. The secret itself is not stored. As soon as there is a row, every call needs a key, so rows are never deleted.
-- Programs of version 5 do not know this table: update every replica before the first key is created.
CREATE TABLE keys (
    key_id     text COLLATE "C" CONSTRAINT keys_key_id PRIMARY KEY,
    digest     bytea NOT NULL,    -- SHA-256 of the secret
    project    text NOT NULL,
    name       text NOT NULL,
    scopes     text NOT NULL,     -- names, separated by spaces
    created_ms bigint NOT NULL,   -- times are Unix times in milliseconds
    expires_ms bigint,            -- null: never
    revoked_ms bigint,            -- null: not revoked
    used_ms    bigint,            -- null: never used
    checksum   bigint NOT NULL    -- over all other columns but used_ms
);
