//! Rows of `events` as read by queries, with their checksums.

use jiff::Timestamp;

use crate::codec::{Chunk, record};
use crate::domain::event;
use crate::domain::json::public_view;
use crate::domain::{AgentName, Error, Event, EventId, EventType, Origin, Payload, Removal, Result, RunId, RunStatus};
use crate::store::checksum::damaged_events;
use crate::store::commit::row_builder::{EncodedCommit, RowBuilder};
use crate::store::project::shown_run_id;
use crate::store::{Commit, ProjectNumber, RunKey};

use super::row_checksum::Checked;

/// SELECT list of an [`EventRow`], with `events` as `e` and `runs` as `r`.
macro_rules! event_columns {
    ($payload:literal) => {
        concat!(
            "e.pos, e.run, r.run_id, e.seq, e.event_id, e.event_type, e.origin, e.status, e.occurred_s, \
             e.occurred_ns, e.recorded_s, e.recorded_ns, e.sent_seconds, e.agent_name, e.sensitive, e.given, e.bytes, \
             e.checksum, e.removal, e.joined_from, ",
            $payload,
            " AS payload"
        )
    };
}
pub(super) use event_columns;

/// A row of `events` joined with the run id.
#[derive(Clone, sqlx::FromRow)]
pub struct EventRow {
    pub pos: i64,
    pub run: i64,
    pub run_id: String,
    pub seq: i64,
    pub event_id: String,
    event_type: String,
    origin: i16,
    status: i16,
    occurred_s: i64,
    occurred_ns: i32,
    recorded_s: i64,
    recorded_ns: i32,
    sent_seconds: Option<f64>,
    agent_name: Option<String>,
    sensitive: bool,
    given: bool,
    bytes: i32,
    /// `None` in rows of an older version.
    checksum: Option<i64>,
    /// `None` while the payload is there.
    removal: Option<i16>,
    /// `None` unless the payload is joined.
    joined_from: Option<i64>,
    /// `None` if the query omits the payload.
    payload: Option<String>,
}

impl EventRow {
    /// Parses the row into the event and the status of the run after the event; `None` without a payload. A checksum
    /// mismatch or an invalid value is logged and returned as `EventDamaged`.
    pub fn into_event(self) -> Result<Option<(Event, RunStatus)>> {
        if self.payload.is_none() {
            return Ok(None);
        }
        let run_id = shown_run_id(&self.run_id).to_owned();
        let (seq, pos) = (self.seq.unsigned_abs(), self.pos.unsigned_abs());
        let is_sound = self.is_checked().unwrap_or(true);
        let key = RunKey::from_stored(&self.run_id).filter(|key| is_sound && self.is_of(key.project));
        let event = key.and_then(|key| self.parse(key.run_id));
        event.map(Some).ok_or_else(|| {
            damaged_events(Some(&run_id), Some(seq), pos, "a row of the table `events`");
            Error::EventDamaged { run_id: Some(run_id), seqs: Some((seq, seq)) }
        })
    }

    /// Length of the encoded event in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes.unsigned_abs())
    }

    /// Whether the row matches its checksum; `None` without a checksum.
    pub fn is_checked(&self) -> Option<bool> {
        self.checksum.map(|checksum| self.checked().checksum() ^ self.pos == checksum)
    }

    /// Whether the payload is as sent, see [`Event::is_as_sent`].
    pub fn is_as_sent(&self) -> bool {
        event::is_as_sent(self.removal, self.joined_from)
    }

    /// Seq of the first event whose text the payload holds, see [`Event::text_from`].
    pub fn text_from(&self) -> i64 {
        self.joined_from.unwrap_or(self.seq)
    }

    /// Whether the payload was removed.
    pub fn is_removed(&self) -> bool {
        self.removal.is_some()
    }

    /// The row without its payload; an earlier removal stays as it is. Without `keeps_id` nobody finds the event by its id any
    /// more.
    pub fn stub(self, removal: Removal, keeps_id: bool) -> Rewritten {
        let (removal, given) = (self.removal.unwrap_or(removal as i16), self.given && keeps_id);
        let is_sound = self.is_checked().unwrap_or(true);
        let row = Self { removal: Some(removal), joined_from: None, given, ..self };
        row.rewritten(Payload::from_parts(Removal::PAYLOAD, false), is_sound)
    }

    /// The row with the joined payload of all events from this seq on, in place of one that is not removed.
    pub fn joined(self, payload: Payload, from: i64) -> Rewritten {
        let is_sound = self.is_checked().unwrap_or(true);
        Self { joined_from: Some(from), ..self }.rewritten(payload, is_sound)
    }

    /// The changed columns. A damaged row stays damaged: its checksum is not renewed.
    fn rewritten(mut self, payload: Payload, is_sound: bool) -> Rewritten {
        let was_bytes = self.bytes;
        (self.sensitive, self.payload) = (payload.is_sensitive(), Some(payload.as_str().to_owned()));
        let event = RunKey::from_stored(&self.run_id).and_then(|key| self.clone().parse(key.run_id));
        if let Some((event, _)) = event {
            let mut record = Vec::new();
            record::append_entry(&event, &mut record);
            self.bytes = i32::try_from(record.len()).unwrap_or(i32::MAX);
        }
        let checksum = if is_sound { Some(self.checked().checksum() ^ self.pos) } else { self.checksum };
        let Self { pos, removal, joined_from, given, sensitive, bytes, .. } = self;
        Rewritten { pos, removal, joined_from, given, sensitive, bytes, was_bytes, checksum, payload }
    }

    fn checked(&self) -> Checked<'_> {
        Checked {
            run: self.run,
            run_id: &self.run_id,
            seq: self.seq,
            event_id: &self.event_id,
            event_type: &self.event_type,
            small: [self.origin, self.status],
            times: [(self.occurred_s, self.occurred_ns), (self.recorded_s, self.recorded_ns)],
            sent_seconds: self.sent_seconds,
            agent_name: self.agent_name.as_deref(),
            flags: [self.sensitive, self.given],
            removal: self.removal.unwrap_or_default(),
            joined_from: self.joined_from,
            bytes: self.bytes,
            payload: self.payload.as_deref().unwrap_or_default(),
        }
    }

    /// Whether run and position are of this project.
    fn is_of(&self, project: ProjectNumber) -> bool {
        let of_pos = ProjectNumber::of_pos(self.pos.unsigned_abs());
        of_pos == project && ProjectNumber::of_run(self.run) == project
    }

    fn parse(self, run_id: RunId) -> Option<(Event, RunStatus)> {
        let agent_name = match self.agent_name {
            Some(name) => Some(AgentName::parse(&name).ok()?),
            None => None,
        };
        // Rows of older versions do not mark tool input and output as sensitive.
        let sensitive = self.sensitive || public_view::has_previews(&self.event_type);
        let event = Event {
            run_id,
            seq: u64::try_from(self.seq).ok()?,
            event_id: EventId::parse(&self.event_id).ok()?,
            event_type: EventType::parse(&self.event_type).ok()?,
            origin: match self.origin {
                1 => Origin::System,
                2 => Origin::User,
                _ => return None,
            },
            occurred_at: Timestamp::new(self.occurred_s, self.occurred_ns).ok()?,
            sent_seconds: self.sent_seconds,
            recorded_at: Timestamp::new(self.recorded_s, self.recorded_ns).ok()?,
            agent_name,
            payload: Payload::from_parts(self.payload?, sensitive),
            removal: match self.removal {
                Some(number) => Some(Removal::from_number(i32::from(number))?),
                None => None,
            },
            joined_from: self.joined_from.map(i64::unsigned_abs),
        };
        Some((event, RunStatus::from_number(i64::from(self.status))?))
    }
}

/// The columns of a row that a change of its payload changes.
pub struct Rewritten {
    pub pos: i64,
    pub removal: Option<i16>,
    pub joined_from: Option<i64>,
    pub given: bool,
    pub sensitive: bool,
    pub bytes: i32,
    /// `bytes` before the change.
    pub was_bytes: i32,
    pub checksum: Option<i64>,
    pub payload: Payload,
}

/// Consecutive rows of a feed or of one run, encoded as log rows and run spans.
pub struct Rows {
    encoded: EncodedCommit,
    runs: std::collections::HashMap<i64, (RunId, RunStatus)>,
}

impl Rows {
    /// Encodes `rows`, given in reading order, up to the first damaged row. Fails if the first row is damaged.
    pub fn encode(rows: impl IntoIterator<Item = EventRow>, descending: bool) -> Result<Self> {
        let mut events = Vec::new();
        for row in rows {
            let (pos, run) = (row.pos.unsigned_abs(), row.run);
            match row.into_event() {
                Ok(event) => events.push((pos, run, event.ok_or(Error::StoreDamaged)?)),
                Err(_) if !events.is_empty() => break,
                Err(damaged) => return Err(damaged),
            }
        }
        if descending {
            events.reverse();
        }
        let first = events.first().map_or(1, |(pos, ..)| *pos);
        let mut builder = RowBuilder::after(|_| first - 1);
        let mut runs = std::collections::HashMap::new();
        for (_, run, (event, status)) in events {
            builder.add(run, &event);
            runs.insert(run, (event.run_id, status));
        }
        Ok(Self { encoded: builder.finish(), runs })
    }

    /// The rows as an announcement; `None` without rows.
    pub fn commit(&self) -> Option<Commit> {
        self.encoded.commits(|run| self.runs[&run].clone()).pop()
    }

    /// The rows as chunks of the feed.
    pub fn feed_chunks(&self) -> Vec<Chunk> {
        self.commit().map(|commit| commit.feed).unwrap_or_default()
    }

    /// The rows as chunks of their run.
    pub fn run_chunks(&self) -> Vec<Chunk> {
        self.commit().and_then(|mut commit| commit.runs.pop()).map(|run| run.chunks).unwrap_or_default()
    }
}
