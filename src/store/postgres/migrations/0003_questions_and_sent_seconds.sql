-- A run may wait on several questions. Each is a document of its own, which goes when it is answered; its kind says all by which
-- an answer finds it: `pending_input:`, the seq that asked it in 20 digits, `:`, and the question's own id or nothing. A question
-- of version 2 stays as it is, `pending_input`, since programs of version 2 that go on must find it; its id is not known.

-- The Unix time as a double that the producer sent, where `occurred_s` and `occurred_ns` do not give it back.
ALTER TABLE events ADD COLUMN sent_seconds double precision;

-- The function of version 2 with one array more, and with documents that go. Programs of version 2 go on with theirs.
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
    -- Null: none of them has one.
    new_sent_seconds double precision[],
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
        INSERT INTO run_documents SELECT * FROM json_populate_recordset(NULL::run_documents, documents) w
            WHERE w.json IS NOT NULL ON CONFLICT (run, kind) DO UPDATE SET json = excluded.json;
        -- Also a question that a program of version 2 wrote.
        DELETE FROM run_documents d USING json_populate_recordset(NULL::run_documents, documents) w
            WHERE w.json IS NULL AND d.run = w.run AND (d.kind = w.kind OR d.kind = 'pending_input'
                AND w.kind LIKE 'pending_input:%'
                AND d.json ~ ('"requested_seq":' || ltrim(substr(w.kind, 15, 20), '0') || '\}$'));
    END IF;
    UPDATE feed SET last_pos = last_pos + added WHERE id = 1 RETURNING last_pos - added INTO before;
    -- In the list of columns, all `unnest` go on together and nothing is kept in between.
    INSERT INTO events (pos, run, seq, occurred_s, recorded_s, occurred_ns, recorded_ns, bytes, status, origin, given,
                        sensitive, event_id, event_type, agent_name, payload, sent_seconds)
        SELECT generate_series(before + 1, before + added), unnest(new_runs), unnest(new_seqs), unnest(new_occurred_s),
               unnest(new_recorded_s), unnest(new_occurred_ns), unnest(new_recorded_ns), unnest(new_bytes),
               unnest(new_statuses), unnest(new_origins), unnest(new_given), unnest(new_sensitive),
               unnest(new_event_ids), unnest(new_event_types), unnest(new_agent_names), unnest(new_payloads),
               unnest(new_sent_seconds);
    IF channel IS NOT NULL THEN
        PERFORM pg_notify(channel, teller || ':' || (before + added));
    END IF;
    RETURN before + added;
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'RL001' THEN
        RETURN NULL;
END
$$;
