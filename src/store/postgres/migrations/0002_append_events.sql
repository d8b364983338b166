-- Stores the events of one commit in one round trip: runs, documents, positions, events, and the word to other replicas.
--
-- The caller planned them for runs as it knows them. Where one is not so any more, where a run that it creates is there,
-- or where an id that a producer gave is stored, nothing is changed and null comes back: the caller reads and plans anew.
-- Otherwise it returns the position of the last event. Locks are taken in the order of `transaction.rs`: the runs in
-- the order in which they are given, new runs, and last the row of the feed.
CREATE FUNCTION append_events(
    -- Runs that exist, by number: what the caller knows of each, and what it becomes.
    known_runs  bigint[],
    known_seqs  bigint[],
    known_times text[],
    last_seqs   bigint[],
    times       text[],
    -- Rows of `runs` that are new or change in other columns too, and rows of `run_documents`; null: none.
    other_runs  json,
    documents   json,
    -- The events, in feed order; the order of the columns is that of the table.
    new_runs bigint[], new_seqs bigint[], new_occurred_s bigint[], new_recorded_s bigint[], new_occurred_ns integer[],
    new_recorded_ns integer[], new_bytes integer[], new_statuses smallint[], new_origins smallint[], new_given boolean[],
    new_sensitive boolean[], new_event_ids text[], new_event_types text[], new_agent_names text[], new_payloads json[],
    -- Where to tell of it and who tells; null: nowhere.
    channel text,
    teller  text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    added   bigint := cardinality(new_runs);
    changed bigint;
    before  bigint;
BEGIN
    UPDATE runs r SET last_seq = w.last_seq, updated_at = w.time
        FROM (SELECT unnest(known_runs) AS run, unnest(known_seqs) AS known_seq, unnest(known_times) AS known_time,
                     unnest(last_seqs) AS last_seq, unnest(times) AS time) w
        WHERE r.run = w.run AND r.last_seq = w.known_seq AND r.updated_at = w.known_time;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(known_runs) THEN
        RAISE SQLSTATE 'RL001';
    END IF;
    IF other_runs IS NOT NULL THEN
        INSERT INTO runs SELECT * FROM json_populate_recordset(NULL::runs, other_runs)
            ON CONFLICT (run) DO UPDATE SET status = excluded.status, agent_name = excluded.agent_name,
                structure_id = excluded.structure_id, started_at = excluded.started_at,
                completed_at = excluded.completed_at, usage = excluded.usage, ended_by = excluded.ended_by,
                output_at = excluded.output_at;
    END IF;
    IF documents IS NOT NULL THEN
        INSERT INTO run_documents SELECT * FROM json_populate_recordset(NULL::run_documents, documents)
            ON CONFLICT (run, kind) DO UPDATE SET json = excluded.json;
    END IF;
    UPDATE feed SET last_pos = last_pos + added WHERE id = 1 RETURNING last_pos - added INTO before;
    -- In the list of columns, all `unnest` go on together and nothing is kept in between.
    INSERT INTO events (pos, run, seq, occurred_s, recorded_s, occurred_ns, recorded_ns, bytes, status, origin, given,
                        sensitive, event_id, event_type, agent_name, payload)
        SELECT generate_series(before + 1, before + added), unnest(new_runs), unnest(new_seqs), unnest(new_occurred_s),
               unnest(new_recorded_s), unnest(new_occurred_ns), unnest(new_recorded_ns), unnest(new_bytes),
               unnest(new_statuses), unnest(new_origins), unnest(new_given), unnest(new_sensitive),
               unnest(new_event_ids), unnest(new_event_types), unnest(new_agent_names), unnest(new_payloads);
    IF channel IS NOT NULL THEN
        PERFORM pg_notify(channel, teller || ':' || (before + added));
    END IF;
    RETURN before + added;
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'RL001' THEN
        RETURN NULL;
END
$$;
