-- A checksum for what is served and for what is trusted when something is served or stored: XXH3 in 64 bits, see
-- src/store/checksum.rs. What an older program wrote has none.
ALTER TABLE log ADD COLUMN checksum INTEGER;         -- over pos, count, sensitive and data

-- The row of the store itself: over its other columns.
ALTER TABLE store ADD COLUMN checksum INTEGER;

-- Rows of the log from this position on have a checksum; one without is damaged.
ALTER TABLE store ADD COLUMN checked_from INTEGER NOT NULL DEFAULT 1;

UPDATE store SET checked_from = coalesce((SELECT pos + count FROM log ORDER BY pos DESC LIMIT 1), 1);
