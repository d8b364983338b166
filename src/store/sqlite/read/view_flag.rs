//! The column `sensitive` of the log and its index: whether the public view of an event may differ from what is stored.
//!
//! Files from before tool input and output were part of the rule have 0 where it did not differ by the rule of that time. So a
//! 0 says nothing, and rows that are judged by the rule of today have 1 or 2.

/// The value of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct ViewFlag(i64);

const DIFFERS: ViewFlag = ViewFlag(1);
const SAME: ViewFlag = ViewFlag(2);

impl ViewFlag {
    /// For events of which this is known.
    pub fn of(sensitive: bool) -> Self {
        if sensitive { DIFFERS } else { SAME }
    }

    /// As it is stored.
    pub fn number(self) -> i64 {
        self.0
    }

    /// Whether the public view may differ.
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
