//! Demo runs with the event types of the public run events.

use super::script::{Script, Step, step};
use crate::pb::RunStatus;

const CREATED: Step = step(
    200,
    "run.created",
    r#"{"request_id":"$REQUEST","input":{"message":"(left out of the public view)"},"streaming":true,"routing":{"routing_decision_reason":"planner_first_step"}}"#,
);
const STARTED: Step = step(
    700,
    "run.worker.started",
    r#"{"request_id":"$REQUEST","from_status":"queued","to_status":"running","reason_code":null}"#,
);
const SUCCEEDED: Step = step(
    500,
    "run.worker.succeeded",
    r#"{"request_id":"$REQUEST","from_status":"running","to_status":"succeeded","reason_code":"COMPLETED"}"#,
);
const RESUMED: Step =
    step(500, "run.resumed", r#"{"request_id":"$REQUEST","from_status":"awaiting_input","to_status":"running"}"#);
const SEARCHED: Step = step(
    600,
    "run.tool.invoked",
    r#"{"tool_call_id":"call_001","tool_name":"memory_search","tool_outcome":"succeeded","tool_input_summary":{"schema_version":"v1","preview":"{\"query\":\"docs\"}","highlights":[{"key":"query","value":"docs","redacted":false}],"stats":{"fields_total":1,"fields_redacted":0,"bytes_before_redaction":20,"bytes_after_redaction":20},"truncated":false},"tool_output_summary":{"schema_version":"v1","stats":{"fields_total":0,"fields_redacted":0,"bytes_before_redaction":0,"bytes_after_redaction":0},"truncated":false},"policy_reason_code":null,"duration_ms":45}"#,
);

/// Streams an answer in three parts.
pub const ANSWER: Script = Script {
    name: "answer",
    agent: "assistant",
    end: RunStatus::Succeeded,
    steps: &[
        CREATED,
        STARTED,
        SEARCHED,
        step(400, "step.progress", r#"{"task_id":"task_1","kind":"content_delta","content_delta":"An acknowledged "}"#),
        step(
            150,
            "step.progress",
            r#"{"task_id":"task_1","kind":"content_delta","content_delta":"event is on disk, "}"#,
        ),
        step(
            150,
            "step.progress",
            r#"{"task_id":"task_1","kind":"content_delta","content_delta":"whatever happens next."}"#,
        ),
        step(
            200,
            "step.done",
            r#"{"task_id":"task_1","content":"An acknowledged event is on disk, whatever happens next.","outcome":"succeeded"}"#,
        ),
        step(
            400,
            "run.coordination.decision",
            r#"{"request_id":"$REQUEST","decision_type":"stop","reason_code":"JUDGE_STOP","role":"judge","judge_decision":{"decision":"stop","reason":"answered"}}"#,
        ),
        SUCCEEDED,
    ],
};

/// Waits for an approval, then for a text; both arrive.
pub const APPROVAL: Script = Script {
    name: "refund",
    agent: "support-agent",
    end: RunStatus::Succeeded,
    steps: &[
        CREATED,
        STARTED,
        step(
            700,
            "run.coordination.decision",
            r#"{"request_id":"$REQUEST","decision_type":"await_input","reason_code":"NEEDS_APPROVAL","role":"planner"}"#,
        ),
        step(
            300,
            "run.awaiting_input",
            r#"{"request_id":"$REQUEST","reason_code":"AWAITING_APPROVAL","input_kind":"approval"}"#,
        ),
        step(0, "run.signal_applied", r#"{"request_id":"$REQUEST","action":"approve"}"#),
        RESUMED,
        step(
            800,
            "run.awaiting_input",
            r#"{"request_id":"$REQUEST","reason_code":"AWAITING_PAYLOAD","input_kind":"payload"}"#,
        ),
        step(0, "run.input_received", r#"{"request_id":"$REQUEST","action":"submit_input"}"#),
        RESUMED,
        step(700, "step.done", r#"{"task_id":"task_2","content":"Refunded 49.90 EUR.","outcome":"succeeded"}"#),
        SUCCEEDED,
    ],
};

/// Loses the worker and succeeds at the second attempt.
pub const RETRY: Script = Script {
    name: "index",
    agent: "indexer",
    end: RunStatus::Succeeded,
    steps: &[
        CREATED,
        STARTED,
        step(
            900,
            "step.progress",
            r#"{"task_id":"task_3","kind":"tool_call_start","tool_call_id":"call_7","tool_name":"fetch"}"#,
        ),
        step(
            2_500,
            "run.worker.stalled",
            r#"{"request_id":"$REQUEST","from_status":"running","to_status":"stalled","reason_code":"LEASE_LOST"}"#,
        ),
        step(
            800,
            "run.worker.retry_scheduled",
            r#"{"request_id":"$REQUEST","from_status":"stalled","to_status":"queued","reason_code":"RETRY_1_OF_3"}"#,
        ),
        STARTED,
        step(
            600,
            "step.progress",
            r#"{"task_id":"task_3","kind":"tool_call_start","tool_call_id":"call_8","tool_name":"fetch"}"#,
        ),
        step(
            700,
            "step.progress",
            r#"{"task_id":"task_3","kind":"tool_call_done","tool_call_id":"call_8","tool_name":"fetch"}"#,
        ),
        step(500, "step.done", r#"{"task_id":"task_3","content":"128 pages indexed.","outcome":"succeeded"}"#),
        SUCCEEDED,
    ],
};

/// Cancelled by the client during the answer.
pub const CANCELLED: Script = Script {
    name: "translate",
    agent: "translator",
    end: RunStatus::Cancelled,
    steps: &[
        CREATED,
        STARTED,
        step(500, "step.progress", r#"{"task_id":"task_4","kind":"content_delta","content_delta":"Sehr geehrte "}"#),
        step(200, "step.progress", r#"{"task_id":"task_4","kind":"content_delta","content_delta":"Damen und "}"#),
        step(900, "run.cancelled", r#"{"request_id":"$REQUEST","from_status":"running","to_status":"cancelled"}"#),
    ],
};

/// Fails at the limit of the run's duration.
pub const LIMIT: Script = Script {
    name: "brute-force",
    agent: "puzzle-solver",
    end: RunStatus::Failed,
    steps: &[
        CREATED,
        STARTED,
        step(700, "step.done", r#"{"task_id":"task_5","content":"No solution yet.","outcome":"retry_step"}"#),
        step(
            700,
            "run.coordination.decision",
            r#"{"request_id":"$REQUEST","decision_type":"replan","reason_code":"JUDGE_REPLAN","role":"judge"}"#,
        ),
        step(900, "step.done", r#"{"task_id":"task_6","content":"Still none.","outcome":"retry_step"}"#),
        step(
            900,
            "run.limit_exceeded",
            r#"{"limitType":"duration_ms","currentValue":3600000,"threshold":3600000,"unit":"ms"}"#,
        ),
    ],
};

/// Fails because the model provider is down.
pub const PROVIDER_DOWN: Script = Script {
    name: "classify",
    agent: "ticket-router",
    end: RunStatus::Failed,
    steps: &[
        CREATED,
        STARTED,
        step(
            1_200,
            "step.done",
            r#"{"task_id":"task_7","content":"","outcome":"fail_run","reason_code":"PROVIDER_ERROR","provider_error_message":"503 from the model's provider"}"#,
        ),
        step(
            400,
            "run.worker.failed",
            r#"{"request_id":"$REQUEST","from_status":"running","to_status":"failed","reason_code":"PROVIDER_ERROR"}"#,
        ),
    ],
};
