//! The column `sensitive` of the log and its index: whether the public view of an event may differ from the stored
//! event.
//!
//! Early versions wrote 0 for "equal", by a rule that did not cover tool input and output. So 0 means "unknown", and
//! the present rule writes 1 or 2.

/// Value of the column: 1 differs, 2 equal, 0 unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct ViewFlag(i64);

const DIFFERS: ViewFlag = ViewFlag(1);
const SAME: ViewFlag = ViewFlag(2);

impl ViewFlag {
    /// Value by the present rule.
    pub fn of(sensitive: bool) -> Self {
        if sensitive { DIFFERS } else { SAME }
    }

    pub fn number(self) -> i64 {
        self.0
    }

    /// Whether the public view may differ; true if unknown.
    pub fn is_sensitive(self) -> bool {
        self != SAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_program_wrote_is_looked_at_again() {
        assert!(ViewFlag(0).is_sensitive() && ViewFlag(1).is_sensitive());
        assert!(ViewFlag::of(true).is_sensitive() && !ViewFlag::of(false).is_sensitive());
    }
}
