//! Demo runs with the event types of Griptape Cloud structure runs.

use super::script::{Script, Step, step};
use crate::pb::RunStatus;

const STARTING: Step = step(300, "StructureRunStarting", r#"{"status":"STARTING"}"#);
const RUNNING: Step = step(900, "StructureRunRunning", r#"{"status":"RUNNING","started_at":"$NOW"}"#);

/// Succeeds and gives an output.
pub const REPORT: Script = Script {
    name: "report",
    agent: "weekly-report",
    end: RunStatus::Succeeded,
    steps: &[
        STARTING,
        RUNNING,
        step(800, "StartPromptEvent", r#"{"model":"gpt-4o","prompt_tokens":412}"#),
        step(
            1_600,
            "FinishPromptEvent",
            r#"{"model":"gpt-4o","completion_tokens":188,"text":"Three incidents, all resolved."}"#,
        ),
        step(700, "ChartRendered", r#"{"title":"Incidents per day","points":7,"file":"incidents.svg"}"#),
        step(
            900,
            "FinishStructureRunEvent",
            r#"{"output_task_input":{"value":"last week"},"output_task_output":{"value":"3 incidents, 41 min downtime"}}"#,
        ),
        step(
            600,
            "StructureRunCompleted",
            r#"{"status":"SUCCEEDED","completed_at":"$NOW","status_detail":{"reason":"Completed","message":null,"exit_code":0}}"#,
        ),
    ],
};

/// Fails at once: a Python module is missing.
pub const BROKEN_IMPORT: Script = Script {
    name: "nightly-sync",
    agent: "crm-sync",
    end: RunStatus::Failed,
    steps: &[
        STARTING,
        RUNNING,
        step(700, "LogLine", r#"{"level":"ERROR","text":"ModuleNotFoundError: No module named 'crm'"}"#),
        step(
            500,
            "StructureRunCompleted",
            r#"{"status":"FAILED","completed_at":"$NOW","status_detail":{"reason":"Error","message":"exited with code 1","exit_code":1}}"#,
        ),
    ],
};

/// Cancelled by a user.
pub const STOPPED: Script = Script {
    name: "crawl",
    agent: "site-crawler",
    end: RunStatus::Cancelled,
    steps: &[
        STARTING,
        RUNNING,
        step(500, "PageFetched", r#"{"url":"https://example.com/","status":200,"bytes":48213}"#),
        step(400, "PageFetched", r#"{"url":"https://example.com/docs","status":200,"bytes":19022}"#),
        step(400, "PageFetched", r#"{"url":"https://example.com/login","status":403,"bytes":511}"#),
        step(
            900,
            "StructureRunCompleted",
            r#"{"status":"CANCELLED","completed_at":"$NOW","status_detail":{"reason":"Cancelled","message":"stopped by mara"}}"#,
        ),
    ],
};

/// Fails because the runtime is out of memory.
pub const LOST_RUNTIME: Script = Script {
    name: "embed-docs",
    agent: "embedder",
    end: RunStatus::Failed,
    steps: &[
        STARTING,
        RUNNING,
        step(900, "BatchEmbedded", r#"{"batch":1,"documents":64}"#),
        step(
            1_200,
            "StructureRunError",
            r#"{"status":"ERROR","status_detail":{"error":"the runtime ran out of memory"}}"#,
        ),
    ],
};
