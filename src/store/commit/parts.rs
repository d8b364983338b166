//! The parts of a group that belong to one project each.

use foldhash::HashMap;

use super::queue::{Group, QueuedAppend};
use super::reply::Replies;
use crate::store::ProjectNumber;

/// Appends of a group to one project, in the order of the group, with their reply channels.
pub struct Part {
    pub appends: Vec<QueuedAppend>,
    pub replies: Replies,
}

/// Splits a group by project, in the order of the first append to each.
pub fn by_project(group: Group) -> Vec<Part> {
    let Group { appends, replies, .. } = group;
    let mut numbers: HashMap<ProjectNumber, usize> = HashMap::default();
    let mut number = |append: &QueuedAppend| {
        let next = numbers.len();
        *numbers.entry(append.run.project).or_insert(next)
    };
    let of_appends: Vec<usize> = appends.iter().map(&mut number).collect();
    if numbers.len() == 1 {
        return vec![Part { appends, replies }];
    }
    let replies = replies.split(&of_appends);
    let mut parts: Vec<Part> = replies.into_iter().map(|replies| Part { appends: Vec::new(), replies }).collect();
    for (append, part) in appends.into_iter().zip(of_appends) {
        parts[part].appends.push(append);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Appended;
    use crate::domain::{Error, EventType, NewEvent, Origin, Payload, RunId, RunStatus};
    use crate::store::Append;
    use crate::store::commit::queue::{Queue, QueueOptions};

    fn append(run: &str) -> Append {
        let event = NewEvent {
            event_id: None,
            event_type: EventType::parse("step").unwrap(),
            origin: Origin::System,
            occurred_at: None,
            sent_seconds: None,
            agent_name: None,
            payload: Payload::from_stored("{}"),
            removal: None,
            joined_from: None,
        };
        Append::new(RunId::parse(run).unwrap(), vec![event])
    }

    #[tokio::test]
    async fn each_append_is_answered_with_the_part_of_its_project_and_keeps_its_order() {
        let (queue, mut waiting) = Queue::new(QueueOptions::default());
        let mut receipts = Vec::new();
        for (project, run) in [(0, "a"), (7, "b"), (0, "c"), (7, "a"), (0, "b")] {
            receipts.push(queue.submit(ProjectNumber::of(project).unwrap(), append(run)).await.unwrap());
        }
        let parts = by_project(waiting.next().await.unwrap());
        let runs = |part: &Part| part.appends.iter().map(|append| append.run.run_id.to_string()).collect::<Vec<_>>();
        assert_eq!(parts.iter().map(runs).collect::<Vec<_>>(), [&["a", "c", "b"][..], &["b", "a"]]);
        for (part, last_seq) in parts.into_iter().zip(1..) {
            let appended = Appended { events: Vec::new(), status: RunStatus::Running, last_seq };
            let outcomes = part.appends.iter().map(|_| Ok::<_, Error>(appended.clone())).collect();
            part.replies.answer(outcomes);
        }
        let mut answers = Vec::new();
        for receipt in receipts {
            answers.push(receipt.stored().await.unwrap().last_seq);
        }
        assert_eq!(answers, [1, 2, 1, 2, 1]);
        queue.check().unwrap();
    }
}
