-- Projects. Each has runs and a feed of its own, in the tables of all. The upper bits of a number say whose it is: `events.pos` and
-- `feed.last_pos` are project * 2^40 + position in the feed of the project, and `runs.run` is project * 2^32 + number of the run in
-- the project. The project `default` has the number 0, so its rows are what they were. `runs.run_id` of another project is the number
-- of the project, a line feed, and the id.
--
-- Programs of version 7 go on with the project `default`, and commit, follow and begin epochs as before. But they list runs, and
-- read the end of the feed, without a look at the project: update every replica before the first project is created.

-- Numbers of the runs of the project `default`. Every other project has a sequence `run_numbers_<number of the project>`.
ALTER SEQUENCE run_numbers MAXVALUE 4294967295;

-- A row for each project, `id` is the number of the project + 1. A commit to a project holds its row from the moment that
-- positions are given to the end of the commit.
ALTER TABLE feed DROP CONSTRAINT feed_id_check;
ALTER TABLE feed ADD COLUMN project text COLLATE "C" CONSTRAINT feed_project UNIQUE;   -- name of the project
UPDATE feed SET project = 'default';

-- Epochs of all projects but `default`, whose epochs are in the table `epochs`. A new epoch replaces one without an event, which has
-- the same start.
CREATE TABLE project_epochs (
    project bigint NOT NULL,   -- number of the project
    start   bigint NOT NULL,   -- position in the feed of the project after which the epoch begins
    id      bigint NOT NULL,   -- random; cursors of the feed carry it
    lineage text   NOT NULL,   -- timeline and start of the server
    CONSTRAINT project_epochs_project_start PRIMARY KEY (project, start)
);

-- The function of version 4 with the project. Older programs go on with theirs, in the project `default`.
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
    new_checksums bigint[],
    -- The project, as `feed.id`. All runs are of this project.
    feed_row smallint,
    -- Where to announce it and by which name; null: nowhere.
    channel text,
    announcer text
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
    UPDATE feed SET last_pos = last_pos + added WHERE id = feed_row RETURNING last_pos - added INTO before;
    IF NOT FOUND THEN
        RAISE 'the project with the row % in feed is not there', feed_row;
    END IF;
    -- In the list of columns, all `unnest` go on together and nothing is kept in between.
    INSERT INTO events (pos, run, seq, occurred_s, recorded_s, occurred_ns, recorded_ns, bytes, status, origin, given,
                        sensitive, event_id, event_type, agent_name, payload, sent_seconds, checksum)
        SELECT generate_series(before + 1, before + added), unnest(new_runs), unnest(new_seqs), unnest(new_occurred_s),
               unnest(new_recorded_s), unnest(new_occurred_ns), unnest(new_recorded_ns), unnest(new_bytes),
               unnest(new_statuses), unnest(new_origins), unnest(new_given), unnest(new_sensitive),
               unnest(new_event_ids), unnest(new_event_types), unnest(new_agent_names), unnest(new_payloads),
               unnest(new_sent_seconds), unnest(new_checksums) # generate_series(before + 1, before + added);
    IF channel IS NOT NULL THEN
        PERFORM pg_notify(channel, announcer || ':' || (before + added));
    END IF;
    RETURN before + added;
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'RL001' THEN
        RETURN NULL;
END
$$;
