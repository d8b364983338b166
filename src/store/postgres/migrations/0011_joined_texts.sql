-- Compaction of deltas: events whose payload holds the text of events before them.

-- Seq of the first event whose text the payload holds, too. Null: no other text. Part of the checksum where it is not null: replicas
-- of an older schema take the event for damaged, so compaction stays off until every replica has this one.
ALTER TABLE events ADD COLUMN joined_from bigint;
