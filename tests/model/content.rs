//! Contents of events, and filters over them.

use runlog::domain::{AgentName, EventFilter, EventType, Limits, NewEvent, Origin, Payload, RunStatus};

use crate::oracle::run_id;

pub fn filter(number: u8) -> EventFilter {
    let (types, origins): (&[&str], _) = match number {
        0 => (&[], vec![]),
        1 => (&["step"], vec![]),
        2 => (&["run*"], vec![]),
        3 => (&[], vec![Origin::System]),
        4 => (&["nothing.is.called.so"], vec![]),
        5..=7 => (&[], vec![]),
        _ => (&["my.*", "error"], vec![Origin::User]),
    };
    let agent = || vec![AgentName::parse("agent Ω").unwrap()];
    let (runs, agents) = match number {
        5 => (vec![run_id(0), run_id(9)], vec![]),
        6 => (vec![], agent()),
        7 => (vec![run_id(0), run_id(1)], agent()),
        _ => (vec![], vec![]),
    };
    let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
    EventFilter::parse(&types, origins).unwrap().of(runs, agents).unwrap()
}

pub fn same_content(a: &NewEvent, b: &NewEvent) -> bool {
    a.event_type == b.event_type && a.origin == b.origin && a.agent_name == b.agent_name && a.payload == b.payload
}

/// The table "Status of a run" of the reference, for the types of [`content_of`].
pub fn target(event_type: &EventType) -> Option<RunStatus> {
    Some(match event_type.as_str() {
        "run_start" => RunStatus::Running,
        "run_end" => RunStatus::Succeeded,
        "error" => RunStatus::Failed,
        "run.cancelled" => RunStatus::Cancelled,
        "human_input_requested" => RunStatus::AwaitingInput,
        _ => return None,
    })
}

/// A type and a payload; ends are rare, so that runs become long enough.
pub fn content_of(seed: u16) -> NewEvent {
    const TYPES: [&str; 5] = ["step", "my.note", "run_start", "tool_call", "human_input_requested"];
    const ENDS: [&str; 3] = ["run_end", "error", "run.cancelled"];
    let name = if seed % 24 == 23 {
        ENDS[usize::from(seed / 24) % ENDS.len()]
    } else {
        TYPES[usize::from(seed) % TYPES.len()]
    };
    let payload = match seed % 7 {
        0 => format!("{{ \"n\" : {seed},  \"big\":123456789012345678901234567890, \"n\":1.0 }}"),
        1 => "null".to_owned(),
        2 => format!("{{\"input\":\"secret {seed}\",\"é\":\"\\u00e9\\n\"}}"),
        3 => format!("[{seed}, \"{}\"]", "x".repeat(usize::from(seed))),
        _ => format!("{{\"text\":\"event {seed}\"}}"),
    };
    let event_type = EventType::parse(name).unwrap();
    NewEvent {
        event_id: None,
        payload: Payload::parse(&event_type, payload, &Limits::default()).unwrap(),
        origin: if seed.is_multiple_of(11) { Origin::System } else { Origin::default_for(&event_type) },
        event_type,
        occurred_at: None,
        sent_seconds: None,
        agent_name: seed.is_multiple_of(5).then(|| AgentName::parse("agent Ω").unwrap()),
        removal: None,
        joined_from: None,
    }
}
