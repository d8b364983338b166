-- Ids that producers gave, by the XXH3 hash of the text, in segments: sorted, never changed, merged into larger ones. Ids
-- that the store gave are not here: they tell where their event lies.
CREATE TABLE id_segments (
    segment INTEGER PRIMARY KEY,
    blocks  INTEGER NOT NULL,     -- block n of them holds the hashes of the n-th part of 0 … 2^64 - 1
    places  INTEGER NOT NULL,     -- ids in it
    max_run INTEGER NOT NULL,     -- the newest run that has an id in it
    live    INTEGER NOT NULL      -- 0: being written, or replaced by another and to be removed
) STRICT;

CREATE TABLE id_blocks (
    block INTEGER PRIMARY KEY,    -- segment * 2^32 + number of the block, from 0
    data  BLOB NOT NULL           -- by hash: hash (8 bytes), run (6), seq (6), the highest byte first
) STRICT;

-- Bloom filters: 64 bytes for each block.
CREATE TABLE id_filters (
    part INTEGER PRIMARY KEY,     -- segment * 2^32 + the first block whose bits are here
    data BLOB NOT NULL
) STRICT;

-- What is in there moves into a segment at the next start, which drops the table.
ALTER TABLE event_ids RENAME TO event_ids_to_move;
