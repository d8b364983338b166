//! The reader of payloads, wherever one is looked into. Nothing that a producer sends hides what stands beside it: text with a
//! lone surrogate is read with U+FFFD in its place, and a payload that is no object has no members.

use super::redaction::members;
use super::redaction::members::{Member, decode_lossy};

/// The members of a payload that is an object. Of several with one key the last counts.
#[derive(Default)]
pub struct Members<'a>(Vec<Member<'a>>);

impl<'a> Members<'a> {
    /// Of any JSON text.
    pub fn parse(json: &'a str) -> Self {
        Self(members::members(json).unwrap_or_default())
    }

    /// The member's JSON text; `None` when absent or null.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        let member = self.0.iter().rev().find(|member| member.key() == name)?;
        Some(member.raw_value).filter(|text| *text != "null")
    }

    /// The same, to be kept.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(ToOwned::to_owned)
    }

    /// What the member says; `None` where it is no string.
    pub fn string(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(decode_lossy).map(Into::into)
    }

    /// The member in words: a string as what it says, all else as its JSON text.
    pub fn words(&self, name: &str) -> Option<String> {
        self.string(name).or_else(|| self.text(name))
    }

    /// A number, or a string that holds one.
    pub fn number(&self, name: &str) -> Option<f64> {
        let text = self.words(name)?;
        let text = text.trim();
        // What Rust reads beyond JSON's numbers, such as "inf", is none.
        let is_number = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        text.parse().ok().filter(|number: &f64| is_number && number.is_finite())
    }

    /// A whole number from 0, or a string that holds one, also as `150.0`.
    pub fn count(&self, name: &str) -> Option<u64> {
        if let Ok(count) = self.words(name)?.trim().parse() {
            return Some(count);
        }
        /// From here on doubles skip integers.
        const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
        let number = self.number(name).filter(|number| number.fract() == 0.0)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number between the bounds")]
        (0.0..=EXACT_INTEGERS).contains(&number).then_some(number as u64)
    }

    /// The members of a member that is an object.
    pub fn object(&self, name: &str) -> Self {
        self.raw(name).map(Self::parse).unwrap_or_default()
    }
}
