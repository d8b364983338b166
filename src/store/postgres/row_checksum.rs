//! Checksums of rows of `events`.

use crate::store::checksum::Checksum;

/// The columns covered by a checksum: all columns except the position.
pub struct Checked<'a> {
    pub run: i64,
    /// Text of the column `run_id`.
    pub run_id: &'a str,
    pub seq: i64,
    pub event_id: &'a str,
    pub event_type: &'a str,
    /// `origin` and `status`.
    pub small: [i16; 2],
    /// Seconds and nanoseconds of `occurred_at` and `recorded_at`.
    pub times: [(i64, i32); 2],
    pub sent_seconds: Option<f64>,
    pub agent_name: Option<&'a str>,
    /// `sensitive`, and `given`: whether the producer gave the id.
    pub flags: [bool; 2],
    /// 0: the payload is there.
    pub removal: i16,
    pub joined_from: Option<i64>,
    pub bytes: i32,
    pub payload: &'a str,
}

impl Checked<'_> {
    /// Checksum without the position, which the database assigns and XORs in.
    pub fn checksum(&self) -> i64 {
        let [(occurred_s, occurred_ns), (recorded_s, recorded_ns)] = self.times;
        let [origin, status] = self.small.map(i64::from);
        let [sensitive, given] = self.flags.map(i64::from);
        let removal = i64::from(self.removal) << 3;
        let has_seconds = i64::from(self.sent_seconds.is_some()) << 2;
        let flags = origin << 48 | status << 32 | removal | has_seconds | sensitive << 1 | given;
        let sum = Checksum::default()
            .number(self.run)
            .text(Some(self.run_id))
            .number(self.seq)
            .text(Some(self.event_id))
            .text(Some(self.event_type))
            .number(occurred_s)
            .number(recorded_s)
            .number(i64::from(occurred_ns) << 32 | i64::from(recorded_ns))
            .number(flags)
            .number(self.sent_seconds.unwrap_or_default().to_bits().cast_signed())
            .text(self.agent_name)
            .number(i64::from(self.bytes))
            .text(Some(self.payload));
        // The sum of all other rows is as before the column.
        let sum = match self.joined_from {
            Some(from) => sum.number(from),
            None => sum,
        };
        sum.finish()
    }
}
