//! Demo runs with the event types of the agent SDK ingest API.

use super::script::{Script, step};
use crate::pb::RunStatus;

/// Searches, answers, and reports token usage and cost.
pub const WEATHER: Script = Script {
    name: "weather",
    agent: "research-agent",
    end: RunStatus::Succeeded,
    steps: &[
        step(0, "run_start", r#"{"framework":"langgraph","input":{"query":"What is the weather in Zurich?"}}"#),
        step(500, "step", r#"{"node_name":"search_web","phase":"start"}"#),
        step(400, "tool_call", r#"{"tool_name":"web_search","phase":"start","input_preview":"Zurich weather today"}"#),
        step(
            740,
            "tool_call",
            r#"{"tool_name":"web_search","phase":"end","output_preview":"12°C, cloudy in Zurich","duration_ms":740}"#,
        ),
        step(
            300,
            "step",
            r#"{"node_name":"search_web","phase":"end","duration_ms":890,"output":{"results":["12°C, cloudy"]}}"#,
        ),
        step(600, "step", r#"{"node_name":"answer","phase":"start"}"#),
        step(1_100, "step", r#"{"node_name":"answer","phase":"end","duration_ms":1088}"#),
        step(
            300,
            "run_end",
            r#"{"output":{"answer":"It is 12°C and cloudy."},"prompt_tokens":150,"completion_tokens":45,"total_tokens":195,"cost_usd":0.0023,"model":"gpt-4"}"#,
        ),
    ],
};

/// Asks a human for approval and receives the answer.
pub const DEPLOY: Script = Script {
    name: "deploy",
    agent: "deploy-agent",
    end: RunStatus::Succeeded,
    steps: &[
        step(200, "run_start", r#"{"framework":"langgraph","input":{"service":"checkout","version":"2.4.1"}}"#),
        step(500, "step", r#"{"node_name":"plan","phase":"start"}"#),
        step(900, "step", r#"{"node_name":"plan","phase":"end","duration_ms":902,"output":{"changes":5}}"#),
        step(
            400,
            "human_input_requested",
            r#"{"question":"Should we deploy to production?","context":{"target":"prod","changes":5},"channel":"slack"}"#,
        ),
        step(0, "human_input_received", r#"{"response":"yes","responded_by":"tobias"}"#),
        step(400, "tool_call", r#"{"tool_name":"kubectl","phase":"start","input_preview":"rollout checkout 2.4.1"}"#),
        step(
            1_800,
            "tool_call",
            r#"{"tool_name":"kubectl","phase":"end","output_preview":"3 of 3 replicas ready","duration_ms":1793}"#,
        ),
        step(
            500,
            "run_end",
            r#"{"output":{"deployed":"checkout 2.4.1"},"prompt_tokens":920,"completion_tokens":131,"total_tokens":1051,"cost_usd":0.0117,"model":"gpt-4"}"#,
        ),
    ],
};

/// Ends with an exception.
pub const RATE_LIMITED: Script = Script {
    name: "summarize",
    agent: "summarizer",
    end: RunStatus::Failed,
    steps: &[
        step(200, "run_start", r#"{"framework":"langgraph","input":{"document":"q3-report.pdf"}}"#),
        step(500, "step", r#"{"node_name":"read","phase":"start"}"#),
        step(600, "step", r#"{"node_name":"read","phase":"end","duration_ms":604}"#),
        step(500, "tool_call", r#"{"tool_name":"llm","phase":"start","input_preview":"Summarize: revenue rose by"}"#),
        step(
            1_300,
            "error",
            r#"{"error_type":"ValueError","error_message":"API rate limit exceeded","traceback":"Traceback (most recent call last):\n  File \"agent.py\", line 41, in run\nValueError: API rate limit exceeded"}"#,
        ),
    ],
};
