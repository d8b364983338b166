-- A run may wait on several questions. Each is a document of its own, which goes when it is answered; its kind says all by which
-- an answer finds it: `pending_input:`, the seq that asked it in 20 digits, `:`, and the question's own id or nothing; `?` in
-- place of `:` and id where the id is not known.
UPDATE run_documents SET kind = 'pending_input:' || printf('%020d', json ->> 'requested_seq') || '?'
    WHERE kind = 'pending_input' AND json IS NOT NULL;

DELETE FROM run_documents WHERE kind = 'pending_input';
