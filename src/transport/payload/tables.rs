//! The field of each JSON member, in documented order, and the variant of each event type. The macros generate both directions
//! of the conversion from these lines.

use super::error::PayloadError;
use super::field::{Kind, List, Nested, Plain, Raw};
use super::object::{Fit, Model, ObjectWriter, read_object, write_payload};
use crate::domain::json::preview::{PreviewLimits, preview_of, tool_summary};
use crate::domain::json::redaction::members::encode_string;
use crate::pb;
use crate::pb::payload::Variant;

/// `Message { "member": field as Kind, … }`. `or raw_field via build`: a write-only field, and the function that builds the
/// member from the field.
macro_rules! messages {
    ($($message:ident {
        $($key:literal: $field:ident as $kind:ident $(or $raw:ident via $build:ident)?,)*
    })*) => {$(
        impl Model for pb::$message {
            fn take(&mut self, key: &str, raw_value: &str) -> Fit {
                match key {
                    $($key => <$kind as Kind<_>>::take(&mut self.$field, raw_value),)*
                    _ => Fit::Nothing,
                }
            }

            fn put(&self, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError> {
                $(
                    $(if let Some(raw) = &self.$raw {
                        let field = (stringify!($field), self.$field.is_some());
                        object.built($key, field, (stringify!($raw), raw), $build)?;
                    })?
                    <$kind as Kind<_>>::put(&self.$field, $key, stringify!($field), object)?;
                )*
                Ok(())
            }
        }
    )*};
}

messages! {
    StructureRunStarting { "status": status as Plain, }
    StructureRunRunning { "status": status as Plain, "started_at": started_at as Plain, }
    StructureRunCompleted {
        "status": status as Plain,
        "started_at": started_at as Plain,
        "completed_at": completed_at as Plain,
        "status_detail": status_detail as Nested,
    }
    StructureRunError { "status": status as Plain, "status_detail": status_detail as Nested, }
    StatusDetail {
        "reason": reason as Plain,
        "message": message as Plain,
        "exit_code": exit_code as Plain,
        "error": error as Plain,
    }
    RunStart { "framework": framework as Plain, "input": input_json as Raw, }
    RunEnd {
        "output": output_json as Raw,
        "prompt_tokens": prompt_tokens as Plain,
        "completion_tokens": completion_tokens as Plain,
        "total_tokens": total_tokens as Plain,
        "cost_usd": cost_usd as Plain,
        "model": model as Plain,
    }
    RunError {
        "error_type": error_type as Plain,
        "error_message": error_message as Plain,
        "traceback": traceback as Plain,
    }
    Step {
        "node_name": node_name as Plain,
        "phase": phase as Plain,
        "duration_ms": duration_ms as Plain,
        "input": input_json as Raw,
        "output": output_json as Raw,
    }
    ToolCall {
        "tool_name": tool_name as Plain,
        "phase": phase as Plain,
        "input_preview": input_preview as Plain or input_json via preview_member,
        "output_preview": output_preview as Plain or output_json via preview_member,
        "duration_ms": duration_ms as Plain,
    }
    HumanInputRequested {
        "question": question as Plain,
        "context": context_json as Raw,
        "channel": channel as Plain,
    }
    HumanInputReceived { "response": response as Plain, "responded_by": responded_by as Plain, }
    RunCreated {
        "request_id": request_id as Plain,
        "input": input_json as Raw,
        "metadata": metadata_json as Raw,
        "attachment_refs": attachment_refs_json as Raw,
        "sensitivity_tags": sensitivity_tags_json as Raw,
        "streaming": streaming as Plain,
        "routing_hint": routing_hint as Plain,
        "routing": routing_json as Raw,
    }
    StatusTransition {
        "request_id": request_id as Plain,
        "from_status": from_status as Plain,
        "to_status": to_status as Plain,
        "reason_code": reason_code as Plain,
    }
    LimitExceeded {
        "limitType": limit_type as Plain,
        "currentValue": current_value as Plain,
        "threshold": threshold as Plain,
        "unit": unit as Plain,
    }
    StepProgress {
        "task_id": task_id as Plain,
        "kind": kind as Plain,
        "content_delta": content_delta as Plain,
        "tool_call_id": tool_call_id as Plain,
        "tool_name": tool_name as Plain,
        "request_id": request_id as Plain,
    }
    StepDone {
        "task_id": task_id as Plain,
        "content": content as Plain,
        "outcome": outcome as Plain,
        "reason_code": reason_code as Plain,
        "provider_error_message": provider_error_message as Plain,
        "request_id": request_id as Plain,
    }
    ToolInvoked {
        "tool_call_id": tool_call_id as Plain,
        "tool_name": tool_name as Plain,
        "tool_outcome": tool_outcome as Plain,
        "tool_input_summary": tool_input_summary as Nested or tool_input_json via tool_summary,
        "tool_output_summary": tool_output_summary as Nested or tool_output_json via tool_summary,
        "policy_reason_code": policy_reason_code as Plain,
        "duration_ms": duration_ms as Plain,
    }
    ToolSummary {
        "schema_version": schema_version as Plain,
        "preview": preview as Plain,
        "highlights": highlights as List,
        "stats": stats as Nested,
        "truncated": truncated as Plain,
    }
    Highlight { "key": key as Plain, "value": value_json as Raw, "redacted": redacted as Plain, }
    SummaryStats {
        "fields_total": fields_total as Plain,
        "fields_redacted": fields_redacted as Plain,
        "bytes_before_redaction": bytes_before_redaction as Plain,
        "bytes_after_redaction": bytes_after_redaction as Plain,
    }
    CoordinationDecision {
        "request_id": request_id as Plain,
        "decision_type": decision_type as Plain,
        "reason_code": reason_code as Plain,
        "role": role as Plain,
        "judge_decision": judge_decision as Nested,
    }
    JudgeDecision { "decision": decision as Plain, "reason": reason as Plain, }
    AwaitingInput {
        "request_id": request_id as Plain,
        "reason_code": reason_code as Plain,
        "input_kind": input_kind as Plain,
    }
    SignalApplied {
        "request_id": request_id as Plain,
        "action": action as Plain,
        "requested_seq": requested_seq as Plain,
    }
    InputReceived {
        "request_id": request_id as Plain,
        "action": action as Plain,
        "requested_seq": requested_seq as Plain,
    }
}

fn preview_member(raw: &str, limits: PreviewLimits) -> String {
    encode_string(&preview_of(raw, limits.tool_call_chars))
}

/// `Variant name: "type" | …;` with the variant's field in `pb::Payload` as `name`. The types are those of
/// `domain::event_types`; a test compares the two.
macro_rules! variants {
    ($($variant:ident $name:ident: $first:literal $(| $more:literal)*;)*) => {
        /// Variant of a type, and the rest that does not fit, as text. `None` if the type has no variant or [`read_object`]
        /// returns `None`.
        pub(super) fn read_variant(event_type: &str, json: &str) -> Option<(Variant, String)> {
            match event_type {
                $($first $(| $more)* => {
                    read_object(json).map(|(message, rest)| (Variant::$variant(Box::new(message)), rest))
                })*
                _ => None,
            }
        }

        /// JSON text of a variant; `json` is returned as sent.
        pub(super) fn write_variant(
            variant: &Variant,
            extra_json: &str,
            limits: PreviewLimits,
        ) -> Result<String, PayloadError> {
            match variant {
                Variant::Json(json) => Ok(json.clone()),
                $(Variant::$variant(message) => {
                    write_payload(stringify!($name), message.as_ref(), extra_json, limits)
                })*
            }
        }

        /// Types of a variant; empty for `json`, which every type allows.
        pub(super) fn types_of(variant: &Variant) -> &'static [&'static str] {
            match variant {
                Variant::Json(_) => &[],
                $(Variant::$variant(_) => &[$first $(, $more)*],)*
            }
        }

        /// Every type that has a variant.
        #[cfg(test)]
        pub(super) const TYPES: &[&str] = &[$($first $(, $more)*),*];
    };
}

variants! {
    StructureRunStarting structure_run_starting: "StructureRunStarting";
    StructureRunRunning structure_run_running: "StructureRunRunning";
    StructureRunCompleted structure_run_completed: "StructureRunCompleted";
    StructureRunError structure_run_error: "StructureRunError";
    RunStart run_start: "run_start";
    RunEnd run_end: "run_end";
    RunError run_error: "error";
    Step step: "step";
    ToolCall tool_call: "tool_call";
    HumanInputRequested human_input_requested: "human_input_requested";
    HumanInputReceived human_input_received: "human_input_received";
    RunCreated run_created: "run.created";
    StatusTransition status_transition: "run.worker.started" | "run.worker.succeeded" | "run.worker.failed"
        | "run.worker.stalled" | "run.worker.retry_scheduled" | "run.cancelled" | "run.resumed";
    LimitExceeded limit_exceeded: "run.limit_exceeded";
    StepProgress step_progress: "step.progress";
    StepDone step_done: "step.done";
    ToolInvoked tool_invoked: "run.tool.invoked";
    CoordinationDecision coordination_decision: "run.coordination.decision";
    AwaitingInput awaiting_input: "run.awaiting_input";
    SignalApplied signal_applied: "run.signal_applied";
    InputReceived input_received: "run.input_received";
}
