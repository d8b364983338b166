//! Checksums of stored rows: 64-bit XXH3. Checksums are persisted, so the algorithm must never change.

use crate::telemetry;
use xxhash_rust::xxh3::xxh3_64;

/// Maximum number of 64-bit words in one checksum.
const MAX_WORDS: usize = 16;

/// A checksum over a fixed sequence of numbers and texts. The order of the values must never change.
#[derive(Debug)]
pub struct Checksum {
    words: [u8; 8 * MAX_WORDS],
    length: usize,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { words: [0; 8 * MAX_WORDS], length: 0 }
    }
}

impl Checksum {
    /// Adds a number.
    pub fn number(mut self, number: i64) -> Self {
        self.words[self.length..self.length + 8].copy_from_slice(&number.to_le_bytes());
        self.length += 8;
        self
    }

    /// Adds bytes of any length.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.number(xxh3_64(bytes).cast_signed())
    }

    /// Adds a text; `None` counts as the number 0.
    pub fn text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.bytes(text.as_bytes()),
            None => self.number(0),
        }
    }

    /// The checksum as stored in a table.
    pub fn finish(self) -> i64 {
        xxh3_64(&self.words[..self.length]).cast_signed()
    }
}

/// Counts and logs a read of damaged events. `row` is the position of the damaged row in the log; `what` names the part
/// that does not match its checksum.
pub fn damaged_events(run: Option<&str>, seq: Option<u64>, row: u64, what: &str) {
    telemetry::DAMAGED_READS.add(1);
    tracing::error!(run, seq, row, "damaged: {what}; its events are not served, all others are");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_same_for_ever() {
        let sum = Checksum::default().number(1).bytes(b"abc").text(Some("x")).text(None).finish();
        assert_eq!(sum, -5_973_032_102_148_092_856);
    }

    #[test]
    fn each_bit_and_the_lack_of_a_text_change_it() {
        let of = |number: i64, bytes: &[u8], text| Checksum::default().number(number).bytes(bytes).text(text).finish();
        let sum = of(5, b"data", Some(""));
        for bit in 0..64 {
            assert_ne!(of(5 ^ (1 << bit), b"data", Some("")), sum);
        }
        for bit in 0..32 {
            let mut bytes = *b"data";
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(5, &bytes, Some("")), sum);
        }
        assert_ne!(of(5, b"data", None), sum);
    }
}
