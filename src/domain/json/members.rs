//! Access to the members of a payload. Reading is lenient, so that one odd value does not hide the others: a lone surrogate
//! is read as U+FFFD, and a payload that is not an object has no members.

use super::redaction::members;
use super::redaction::members::{Member, decode_lossy};

/// Members of a JSON object. Of several members with the same key the last counts.
#[derive(Default)]
pub struct Members<'a>(Vec<Member<'a>>);

impl<'a> Members<'a> {
    /// Members of any text; empty if the text is not a JSON object.
    pub fn parse(json: &'a str) -> Self {
        Self(members::members(json).unwrap_or_default())
    }

    /// JSON text of a member; `None`: absent or null.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        let member = self.0.iter().rev().find(|member| member.key() == name)?;
        Some(member.raw_value).filter(|text| *text != "null")
    }

    /// JSON text of a member as an owned string; `None`: absent or null.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(ToOwned::to_owned)
    }

    /// Decoded string; `None`: not a string.
    pub fn string(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(decode_lossy).map(Into::into)
    }

    /// Decoded string, or the JSON text of any other value; `None`: absent or null.
    pub fn words(&self, name: &str) -> Option<String> {
        self.string(name).or_else(|| self.text(name))
    }

    /// Number, or string with a number; `None`: any other value, or not finite.
    pub fn number(&self, name: &str) -> Option<f64> {
        let text = self.words(name)?;
        let text = text.trim();
        // Rust also parses texts that are not JSON numbers, such as "inf".
        let is_number = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        text.parse().ok().filter(|number: &f64| is_number && number.is_finite())
    }

    /// Non-negative integer, or a string with an integer, also in the form `150.0`.
    pub fn count(&self, name: &str) -> Option<u64> {
        if let Ok(count) = self.words(name)?.trim().parse() {
            return Some(count);
        }
        /// 2^53: above this limit doubles skip integers.
        const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
        let number = self.number(name).filter(|number| number.fract() == 0.0)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number between the bounds")]
        (0.0..=EXACT_INTEGERS).contains(&number).then_some(number as u64)
    }

    /// Members of a nested object; empty if the member is not an object.
    pub fn object(&self, name: &str) -> Self {
        self.raw(name).map(Self::parse).unwrap_or_default()
    }
}
