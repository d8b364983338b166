-- Keys of callers. The secret itself is not stored. As soon as there is a row, every call needs a key, so rows are never deleted.
CREATE TABLE keys (
    key_id     TEXT PRIMARY KEY,
    digest     BLOB NOT NULL,      -- SHA-256 of the secret
    project    TEXT NOT NULL,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,      -- names, separated by spaces
    created_ms INTEGER NOT NULL,   -- times are Unix times in milliseconds
    expires_ms INTEGER,            -- null: never
    revoked_ms INTEGER,            -- null: not revoked
    used_ms    INTEGER,            -- null: never used
    checksum   INTEGER NOT NULL    -- over all other columns but used_ms
) STRICT, WITHOUT ROWID;
