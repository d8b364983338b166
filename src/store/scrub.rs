//! Comparison of the log with its checksums, part by part: for `check --deep`, and slowly in the background of a
//! server.

use super::inspect::CheckResult;

/// Maximum number of damaged rows named in a check result.
const MAX_NAMED: usize = 100;

/// Result of comparing a part of the log with its checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Position after which the next part begins; `None` at the end of the log.
    pub next: Option<u64>,
    /// Number of rows compared.
    pub rows: u64,
    /// Bytes of events in the rows.
    pub bytes: u64,
    /// Number of rows without a checksum, written by an older version of the program.
    pub unchecked: u64,
    /// Descriptions of the damaged rows: position, and runs and seqs as far as readable.
    pub damaged: Vec<String>,
}

impl Scrubbed {
    /// Adds the result of the following part.
    pub fn add(&mut self, part: Self) {
        self.next = part.next;
        self.rows += part.rows;
        self.bytes += part.bytes;
        self.unchecked += part.unchecked;
        self.damaged.extend(part.damaged);
    }

    /// Result of the check `checksums` for the whole log.
    pub(super) fn finding(&self) -> CheckResult {
        const NAME: &str = "checksums";
        let rows = match self.unchecked {
            0 => format!("{} rows of the log were read, all have a checksum", self.rows),
            unchecked => format!("{} rows of the log were read, {unchecked} of an older version have none", self.rows),
        };
        let damaged = self.damaged.len();
        if damaged == 0 {
            return CheckResult::ok(NAME, rows);
        }
        let mut named = self.damaged[..damaged.min(MAX_NAMED)].join("; ");
        if damaged > MAX_NAMED {
            named.push_str(&format!("; and {} more", damaged - MAX_NAMED));
        }
        CheckResult::failed(NAME, format!("{damaged} damaged: {named}; {rows}; restore them from a backup"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::inspect::Verdict;

    #[test]
    fn a_finding_names_each_damaged_row_up_to_a_bound() {
        let of = |damaged: usize| Scrubbed {
            rows: 200,
            unchecked: 3,
            damaged: (0..damaged).map(|row| format!("row {row}")).collect(),
            ..Scrubbed::default()
        };
        assert_eq!(of(0).finding().verdict, Verdict::Ok);
        let finding = of(101).finding();
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.detail.contains("row 99; and 1 more") && !finding.detail.contains("row 100"), "{finding:?}");
        assert!(finding.detail.contains("3 of an older version have none"), "{finding:?}");
    }
}
