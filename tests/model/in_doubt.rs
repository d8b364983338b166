//! In-doubt publishes. Such a publish is stored as a whole or not at all; a reader, or the answer to a later publish to
//! the same run, reveals the outcome. The oracle keeps both states: the run with the publish, and the run without.

use proptest::sample::Index;
use runlog::domain::event::Appended;
use runlog::domain::{Error, NewEvent, Result};
use runlog::service::publish::Publish;

use crate::faults::Loss;
use crate::ops::{EventSpec, Expect, Id, PublishSpec, RUNS};
use crate::oracle::{self, Oracle, Predicted, RunModel};
use crate::server::guarded;
use crate::stores::Backend;
use crate::world::World;

/// A publish with an unknown outcome.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// The run without the publish.
    pub without: RunModel,
    events: Vec<NewEvent>,
    expected_last_seq: Option<u64>,
}

impl Oracle {
    /// Resolves the doubt: the publish is stored.
    pub fn is_stored(&mut self, run: u8) {
        let model = &mut self.runs[usize::from(run)];
        if model.doubt.take().is_some() {
            model.acked = model.last();
        }
    }

    /// Changes a run in all its possible states.
    pub fn change(&mut self, run: u8, change: impl Fn(&mut RunModel)) {
        let model = &mut self.runs[usize::from(run)];
        change(model);
        if let Some(doubt) = &mut model.doubt {
            change(&mut doubt.without);
        }
    }

    /// The predicted answer to a publish to a run in this state, and the state afterwards.
    fn predict_in(&mut self, model: RunModel, run: u8, publish: &Publish) -> (Predicted, RunModel) {
        let before = std::mem::replace(&mut self.runs[usize::from(run)], model);
        let predicted = self.predict(run, &publish.events, publish.expected_last_seq);
        (predicted, std::mem::replace(&mut self.runs[usize::from(run)], before))
    }

    /// Runs with a publish in doubt.
    fn in_doubt(&self) -> Vec<u8> {
        (0..RUNS).filter(|run| self.runs[usize::from(*run)].doubt.is_some()).collect()
    }
}

impl Predicted {
    /// Whether the answer matches the prediction.
    pub fn is(&self, answer: &Result<Appended>) -> bool {
        match (answer, &self.answer) {
            (Ok(appended), Ok(expected)) => {
                let answered = appended.events.iter().map(|event| (event.seq, event.duplicate));
                answered.eq(expected.iter().copied())
                    && (appended.status, appended.last_seq) == (self.status, self.last_seq)
            }
            (Err(error), Err(reason)) => error.reason() == *reason,
            _ => false,
        }
    }

    /// Whether the publish stores events.
    fn stores(&self) -> bool {
        self.answer.as_ref().is_ok_and(|events| events.iter().any(|(_, is_duplicate)| !is_duplicate))
    }
}

impl<B: Backend> World<B> {
    /// Publishes and loses the answer.
    pub async fn submit_in_vain(&mut self, spec: PublishSpec, loss: Loss) {
        self.settle().await;
        if self.oracle.runs[usize::from(spec.run)].doubt.is_some() {
            return self.submit(spec).await;
        }
        let (publish, without) = (self.publish(&spec), self.oracle.runs[usize::from(spec.run)].clone());
        let Publish { events, expected_last_seq, .. } = publish.clone();
        let predicted = self.oracle.predict(spec.run, &events, expected_last_seq);
        if !self.backend.lose_next(loss) {
            self.server.faults.lose_next(loss);
        }
        let answer = guarded(self.server.service.publish(publish)).await;
        self.backend.lose_nothing();
        match answer {
            Err(Error::OutcomeUnknown) if predicted.stores() => {
                let doubt = Doubt { without, events, expected_last_seq };
                self.oracle.runs[usize::from(spec.run)].doubt = Some(Box::new(doubt));
            }
            Err(Error::OutcomeUnknown) => {}
            answer => self.answered(&predicted, answer),
        }
        self.settle().await;
    }

    /// Publishes to a run in doubt and learns the outcome from the answer. Promise 3: the answer is right for one of
    /// the two states, and a lost publish is never reported as a duplicate.
    pub async fn submit_to_doubtful(&mut self, run: u8, publish: Publish) {
        self.settle().await;
        let place = usize::from(run);
        let Some(doubt) = self.oracle.runs[place].doubt.clone() else {
            let predicted = self.oracle.predict(run, &publish.events, publish.expected_last_seq);
            let answer = guarded(self.server.service.publish(publish)).await;
            self.answered(&predicted, answer);
            return self.settle().await;
        };
        let mut with = self.oracle.runs[place].clone();
        (with.doubt, with.acked) = (None, with.last());
        let (if_stored, stored) = self.oracle.predict_in(with, run, &publish);
        let (if_not, not_stored) = self.oracle.predict_in(doubt.without, run, &publish);
        let answer = loop {
            match guarded(self.server.service.publish(publish.clone())).await {
                // Nothing is stored: the connection is new, or the session before has not quite ended.
                Err(Error::StoreUnavailable) => {}
                answer => break answer,
            }
        };
        match (if_stored.is(&answer), if_not.is(&answer)) {
            (true, false) => {
                self.oracle.runs[place] = stored;
                self.answered(&if_stored, answer);
            }
            (false, true) if if_not.stores() => {
                self.oracle.runs[place] = not_stored;
                self.answered(&if_not, answer);
            }
            // The delayed publish may still arrive.
            (false, true) => {}
            (true, true) => assert!(!if_not.stores(), "the seqs decide"),
            (false, false) => panic!("run {run} answered {answer:?}, expected was {if_stored:?} or {if_not:?}"),
        }
        self.settle().await;
    }

    /// A client retries an in-doubt publish unchanged.
    pub async fn retry(&mut self, index: Index) {
        let runs = self.oracle.in_doubt();
        if runs.is_empty() {
            return;
        }
        let run = runs[index.index(runs.len())];
        let Some(doubt) = self.oracle.runs[usize::from(run)].doubt.clone() else { return };
        let Doubt { events, expected_last_seq, .. } = *doubt;
        let publish = Publish { run_id: oracle::run_id(run), events, expected_last_seq };
        self.submit_to_doubtful(run, publish).await;
    }

    /// Resolves all doubts: a publish to a run settles an earlier publish in doubt.
    pub async fn settle_doubts(&mut self) {
        for run in self.oracle.in_doubt() {
            let step = EventSpec { id: Id::None, seed: 0, other: 0, occurred_at: None };
            let publish = self.publish(&PublishSpec { run, events: vec![step], expect: Expect::Nothing });
            self.submit_to_doubtful(run, publish).await;
        }
        assert!(self.oracle.in_doubt().is_empty(), "an answer to a new event decides");
    }
}
