//! Promise 3: a publish may be conditional.

use runlog::domain::RunStatus;
use runlog::store::{Append, Condition};
use tokio::task::JoinSet;

use crate::fixture::*;

pub async fn zero_expects_a_run_that_does_not_exist(fixture: impl Fixture) {
    let store = fixture.opened().await;
    assert_eq!(store.append(expecting(0, append("r", vec![event("x")]))).await.unwrap().last_seq, 1);
    assert_eq!(reason(store.append(expecting(0, append("r", vec![event("y")]))).await), "SEQ_CONFLICT");
}

pub async fn a_right_expectation_appends_and_a_wrong_one_changes_nothing(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![event("1"), event("2")])).await.unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        let error = store.append(expecting(wrong, append("r", vec![event("no")]))).await.unwrap_err();
        assert_eq!(error.reason(), "SEQ_CONFLICT");
        assert!(error.metadata().contains(&("last_seq", "2".to_owned())));
    }
    assert_eq!(store.append(expecting(2, append("r", vec![event("3")]))).await.unwrap().last_seq, 3);
    assert_eq!(reason(store.append(expecting(1, append("none", vec![event("x")]))).await), "SEQ_CONFLICT");
    assert_eq!(reason(store.extent(&run("none")).await), "RUN_NOT_FOUND");
}

pub async fn a_repeat_needs_no_expectation(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let a = || with_id("a", event("a"));
    store.append(expecting(0, append("r", vec![a()]))).await.unwrap();
    store.append(append("r", vec![event("b")])).await.unwrap();
    let again = store.append(expecting(0, append("r", vec![a()]))).await.unwrap();
    assert_eq!((seqs(&again), duplicates(&again), again.last_seq), (vec![1], vec![true], 2));
    assert_eq!(reason(store.append(expecting(0, append("r", vec![a(), event("new")]))).await), "SEQ_CONFLICT");
    let mixed = store.append(expecting(2, append("r", vec![a(), event("new")]))).await.unwrap();
    assert_eq!(seqs(&mixed), [1, 3]);
}

pub async fn a_completion_follows_new_events_of_an_open_run_and_no_condition_counts_it(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let finished = |run: &str, id: &str| Append {
        completion: Some(Box::new(with_id(
            "runlog:finish:succeeded",
            typed("StructureRunCompleted", r#"{"status":"SUCCEEDED"}"#),
        ))),
        ..expecting(0, append(run, vec![with_id(id, event("a"))]))
    };
    let ended = store.append(finished("r", "a")).await.unwrap();
    assert_eq!((seqs(&ended), ended.last_seq, ended.status), (vec![1], 2, RunStatus::Succeeded));
    let again = store.append(finished("r", "a")).await.unwrap();
    assert_eq!((duplicates(&again), again.last_seq), (vec![true], 2));
    // Stored before without its end: a repeat is a repeat.
    store.append(expecting(0, append("s", vec![with_id("a", event("a"))]))).await.unwrap();
    let again = store.append(finished("s", "a")).await.unwrap();
    assert_eq!((duplicates(&again), again.last_seq, again.status), (vec![true], 1, RunStatus::Unspecified));
    // A run that has ended by then has its end.
    let late = Append { condition: None, ..finished("r", "late") };
    assert_eq!(store.append(late).await.unwrap().last_seq, 3);
}

pub async fn of_two_writers_exactly_one_wins_each_seq(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let mut tasks = JoinSet::new();
    for writer in ["a", "b"] {
        let store = store.clone();
        tasks.spawn(async move {
            let mut wins = Vec::new();
            for last in 0..100 {
                match store.append(expecting(last, append("r", vec![event(writer)]))).await {
                    Ok(appended) => wins.extend(seqs(&appended)),
                    Err(error) => assert_eq!(error.reason(), "SEQ_CONFLICT"),
                }
            }
            wins
        });
    }
    let mut wins = tasks.join_all().await.concat();
    wins.sort_unstable();
    // The loser of a conflict knows that another append won, so the run always makes progress.
    assert_eq!(wins, (1..=100).collect::<Vec<_>>());
}

pub async fn a_condition_is_judged_by_the_run_as_it_is_then_and_not_by_its_last_seq(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let given = |condition, append| Append { condition: Some(condition), ..append };
    let answer = || append("r", vec![typed("run.signal_applied", "{}")]);
    store.append(append("r", vec![typed("human_input_requested", "{}"), event("2")])).await.unwrap();
    assert_eq!(reason(store.append(given(Condition::QuestionOpen(2), answer())).await), "RUN_CHANGED");
    assert_eq!(store.append(given(Condition::QuestionOpen(1), answer())).await.unwrap().last_seq, 3);
    assert_eq!(reason(store.append(given(Condition::QuestionOpen(1), answer())).await), "RUN_CHANGED");
    let note = |text| append("r", vec![with_id(text, event(text))]);
    assert_eq!(reason(store.append(given(Condition::Status(RunStatus::Running), note("a"))).await), "RUN_CHANGED");
    assert_eq!(store.append(given(Condition::Status(RunStatus::AwaitingInput), note("a"))).await.unwrap().last_seq, 4);
    assert_eq!(store.append(given(Condition::NotEnded, note("b"))).await.unwrap().last_seq, 5);
    store.append(append("r", vec![typed("run_end", "{}")])).await.unwrap();
    assert_eq!(reason(store.append(given(Condition::NotEnded, note("c"))).await), "RUN_CHANGED");
    assert_eq!(reason(store.append(given(Condition::OnlyRepeat, note("c"))).await), "RUN_CHANGED");
    // A duplicate is accepted without checking the condition.
    for condition in [Condition::OnlyRepeat, Condition::NotEnded, Condition::QuestionOpen(1)] {
        assert_eq!(seqs(&store.append(given(condition, note("b"))).await.unwrap()), [5]);
    }
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 6);
}

pub async fn of_many_answers_to_one_question_exactly_one_is_stored(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![typed("human_input_requested", "{}")])).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            store.append(append("r", vec![event(&n.to_string())])).await.unwrap();
            let answer = append("r", vec![typed("run.signal_applied", "{}")]);
            store.append(Append { condition: Some(Condition::QuestionOpen(1)), ..answer }).await.is_ok()
        });
    }
    let stored = tasks.join_all().await.into_iter().filter(|is_stored| *is_stored).count();
    assert_eq!((stored, store.extent(&run("r")).await.unwrap().end.last), (1, 22));
}
