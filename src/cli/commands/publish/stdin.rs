//! `runlog publish --stdin`: one event a line over one PublishStream, with many lines in flight.
//!
//! A line without an answer is sent again over the next connection, in the original order; event ids make the retry safe.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::input;
use super::input::{Input, Pending};
use super::line::Defaults;
use crate::cli::backoff::Backoff;
use crate::cli::client::{ClientArgs, is_transient};
use crate::cli::outcome::{Exit, Failure, TOO_LARGE};
use crate::cli::output::format::Format;
use crate::cli::output::progress::Progress;
use crate::pb::{self, publish_stream_response::Result as Answer};

/// Limit of lines in flight.
const WINDOW_LINES: usize = 2_048;
/// Limit of bytes in flight, checked before each line; the last line may exceed the limit.
const WINDOW_BYTES: usize = 16 << 20;

/// Publishes all lines of stdin.
pub async fn run(client: &ClientArgs, defaults: Defaults, format: Format) -> Result<(), Failure> {
    let lines = input::read_stdin(defaults);
    let progress = Progress::new(input::stdin_bytes(), format);
    let mut pipeline = Pipeline { client, lines, pending: VecDeque::new(), bytes: 0, end_of_input: false, progress };
    match pipeline.run().await {
        Ok(()) => pipeline.progress.finish(),
        Err(failure) if failure.exit == Exit::Ok => Err(failure),
        Err(mut failure) => {
            if let Some(first) = pipeline.pending.front() {
                failure.hint = Some(format!("line {} is the first without an answer", first.line));
            }
            let _ = pipeline.progress.finish();
            Err(failure)
        }
    }
}

struct Pipeline<'a> {
    client: &'a ClientArgs,
    lines: mpsc::Receiver<Input>,
    /// Lines without an answer, in the order of the input.
    pending: VecDeque<Pending>,
    bytes: usize,
    end_of_input: bool,
    progress: Progress,
}

/// Reason of a connection that broke before the last answer.
enum Broken {
    Final(Failure),
    Transient(Failure),
}

impl Broken {
    fn of(status: &Status) -> Self {
        let failure = Failure::of_status(status);
        if is_transient(status) { Self::Transient(failure) } else { Self::Final(failure) }
    }
}

impl Pipeline<'_> {
    /// Reconnects after transient errors, unless no connection succeeded yet or the last answer is older than the timeout.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut last_answer = Instant::now();
        let mut connected = false;
        let mut backoff = Backoff::default();
        loop {
            let before = self.progress.answered();
            let failure = match self.connection(&mut connected).await {
                Ok(()) => return Ok(()),
                // An error of the whole stream, which names no line; the largest line in flight must be too large.
                Err(Broken::Final(failure)) if failure.reason.as_deref() == Some(TOO_LARGE) => {
                    self.refuse_largest(failure)?;
                    continue;
                }
                Err(Broken::Final(failure)) => return Err(failure),
                Err(Broken::Transient(failure)) => failure,
            };
            if self.progress.answered() > before {
                (last_answer, backoff) = (Instant::now(), Backoff::default());
            }
            self.progress.flush()?;
            if !connected || last_answer.elapsed() > self.client.timeout {
                return Err(failure);
            }
            backoff.pause(&failure, |text| self.progress.say(text)).await;
        }
    }

    /// One connection: sends the lines without an answer again, then new lines. `Ok` when the whole input is answered.
    async fn connection(&mut self, connected: &mut bool) -> Result<(), Broken> {
        let mut events = self.client.events().await.map_err(Broken::Transient)?;
        // Capacity of a full window, so that a send never blocks the reading of answers.
        let (sender, requests) = mpsc::channel(WINDOW_LINES);
        for pending in &self.pending {
            send(&sender, &pending.request)?;
        }
        let mut sender = (!self.end_of_input).then_some(sender);
        let call = events.publish_stream(ReceiverStream::new(requests));
        let mut answers = self.client.answer(call).await.map_err(|status| Broken::of(&status))?;
        *connected = true;
        // Lines refused with a transient error. After the first such line no new line is sent, to keep the order.
        let mut again = VecDeque::new();
        let mut cause = None;
        while sender.is_some() || !self.pending.is_empty() {
            let room = self.pending.len() < WINDOW_LINES && self.bytes < WINDOW_BYTES;
            let broken = tokio::select! {
                input = self.lines.recv(), if room && sender.is_some() => {
                    self.take(input, &mut sender)?;
                    continue;
                }
                answer = timeout(self.client.timeout, answers.message()), if !self.pending.is_empty() => match answer {
                    Ok(Ok(Some(answer))) => {
                        if let Some(failure) = self.answered(answer.result, &mut again).map_err(Broken::Final)? {
                            cause = Some(failure);
                            sender = None;
                        }
                        continue;
                    }
                    Ok(Ok(None)) => Broken::of(&Status::unavailable("the stream was cut")),
                    Ok(Err(status)) => Broken::of(&status),
                    Err(_) => Broken::of(&Status::unavailable(format!("no answer within {:?}", self.client.timeout))),
                },
            };
            self.put_back(again);
            return Err(broken);
        }
        self.put_back(again);
        cause.map_or(Ok(()), |failure| Err(Broken::Transient(failure)))
    }

    /// Sends the next line of the input.
    fn take(
        &mut self,
        input: Option<Input>,
        sender: &mut Option<mpsc::Sender<pb::PublishStreamRequest>>,
    ) -> Result<(), Broken> {
        match input {
            None => {
                self.end_of_input = true;
                *sender = None;
            }
            Some(Err((line, end, problem))) => self.progress.refused(line, end, Exit::Data, &problem),
            Some(Ok(pending)) => {
                if let Some(sender) = sender {
                    send(sender, &pending.request)?;
                }
                self.bytes += pending.bytes;
                self.pending.push_back(pending);
            }
        }
        Ok(())
    }

    /// Handles the answer to the oldest line. A transient error is returned, and the line moves to `again`.
    fn answered(&mut self, answer: Option<Answer>, again: &mut VecDeque<Pending>) -> Result<Option<Failure>, Failure> {
        let Some(pending) = self.pending.pop_front() else {
            return Err(Failure::new(Exit::Protocol, "the server answered more than it was asked"));
        };
        self.bytes -= pending.bytes;
        match answer {
            Some(Answer::Published(published)) => {
                self.progress.stored(pending.line, pending.end, &pending.request.run_id, &published)?;
            }
            Some(Answer::Failure(failure)) => {
                let code = Code::from_i32(failure.code);
                // Field paths relative to the line, not to the request around the line.
                let message = failure.message.replacen("publish.", "", 1).replacen("events[0].", "", 1);
                let field = failure.metadata.get("field").cloned();
                let error = Failure::of_answer(code, message, Some(failure.reason), field);
                if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
                    again.push_back(pending);
                    return Ok(Some(error));
                }
                let reason = error.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let problem = format!("{}{reason}", error.message);
                self.progress.refused(pending.line, pending.end, error.exit, &problem);
            }
            None => {
                return Err(Failure::new(Exit::Protocol, "the server sent an answer that this version does not know"));
            }
        }
        if self.pending.is_empty() {
            self.progress.flush()?;
        }
        Ok(None)
    }

    fn refuse_largest(&mut self, failure: Failure) -> Result<(), Failure> {
        let largest = self.pending.iter().enumerate().max_by_key(|(_, pending)| pending.bytes).map(|(at, _)| at);
        let Some(pending) = largest.and_then(|at| self.pending.remove(at)) else {
            return Err(failure);
        };
        self.bytes -= pending.bytes;
        let problem = format!("is larger than the server takes ({TOO_LARGE})");
        self.progress.refused(pending.line, pending.end, failure.exit, &problem);
        Ok(())
    }

    fn put_back(&mut self, mut again: VecDeque<Pending>) {
        again.append(&mut self.pending);
        self.pending = again;
        self.bytes = self.pending.iter().map(|pending| pending.bytes).sum();
    }
}

/// Never blocks: the channel has the capacity of a full window.
fn send(sender: &mpsc::Sender<pb::PublishStreamRequest>, request: &pb::PublishRequest) -> Result<(), Broken> {
    match sender.try_send(pb::PublishStreamRequest { publish: Some(request.clone()) }) {
        // The reader of the answers gets the reason of a closed connection.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        Err(mpsc::error::TrySendError::Full(_)) => {
            Err(Broken::Final(Failure::new(Exit::Other, "more lines are under way than the window holds")))
        }
    }
}
