//! Payloads: JSON texts, checked and then stored byte for byte as sent.

mod canonical;
mod diagnosis;
mod members;
pub mod preview;
pub mod public_view;
pub mod redaction;

use std::fmt;

use serde::de::IgnoredAny;

use super::error::{Error, Result};
use super::event_types::EventType;
use super::limits::Limits;

/// A valid JSON text within the limits, byte for byte as sent by the producer.
#[derive(Clone)]
pub struct Payload {
    text: Box<str>,
    sensitive: bool,
}

impl Payload {
    /// Checks size, nesting and grammar (RFC 8259) of the payload of an event of this type.
    ///
    /// # Errors
    /// `InvalidField`. The field is the path inside the text, or empty; callers put the path of the payload before.
    pub fn parse(event_type: &EventType, text: impl Into<Box<str>>, limits: &Limits) -> Result<Self> {
        let text = text.into();
        if text.len() > limits.max_payload_bytes {
            let (size, max) = (text.len(), limits.max_payload_bytes);
            return Err(Error::invalid("", format!("must be at most {max} bytes; it has {size}")));
        }
        if exceeds_depth(text.as_bytes(), limits.max_json_depth) {
            let max = limits.max_json_depth;
            return Err(Error::invalid("", format!("must nest at most {max} levels deep")));
        }
        serde_json::from_str::<IgnoredAny>(&text).map_err(|error| not_json(&text, &error))?;
        let sensitive = public_view::may_differ(event_type.as_str(), &text);
        Ok(Self { text, sensitive })
    }

    /// A payload read from the store, checked at its publish. [`is_sensitive`](Self::is_sensitive) is true, so that readers
    /// always compute the public view.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), sensitive: true }
    }

    /// A payload read from a store that also keeps [`is_sensitive`](Self::is_sensitive).
    #[must_use]
    pub fn from_parts(text: impl Into<Box<str>>, sensitive: bool) -> Self {
        Self { text: text.into(), sensitive }
    }

    /// The JSON text as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the public view may differ from the payload.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }
}

pub use canonical::canonical;
use diagnosis::Diagnosis;
pub use diagnosis::diagnose;
pub use members::Members;

/// One sentence about the first error in a text that is not JSON, with its path.
#[must_use]
pub fn why_not_json(text: &str) -> String {
    match diagnose(text) {
        Some(Diagnosis { path, problem }) if path.is_empty() => format!("is not JSON: {problem}"),
        Some(Diagnosis { path, problem }) => format!("is not JSON: {path}: {problem}"),
        None => "is not JSON".to_owned(),
    }
}

/// `InvalidField` for a text that is not JSON; the field is the path of the first error inside the text.
pub fn not_json(text: &str, error: &serde_json::Error) -> Error {
    match diagnose(text) {
        Some(Diagnosis { path, problem }) => Error::invalid(path, format!("must be JSON: {problem}")),
        None => Error::invalid("", format!("must be JSON: {error}")),
    }
}

/// Equal by bytes; for equality as JSON see [`canonical()`].
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Payload {}

/// Prints the size only, so that no payload is ever logged.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.text.len())
    }
}

/// Counts brackets outside strings, without a check of the grammar: the parser rejects malformed texts afterwards.
fn exceeds_depth(text: &[u8], max: usize) -> bool {
    // Fast path: a text with at most `max` opening brackets cannot nest deeper.
    if memchr::memchr2_iter(b'[', b'{', text).nth(max).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Payload> {
        Payload::parse(&EventType::parse("step").unwrap(), text, &Limits::default())
    }

    #[test]
    fn text_is_kept_as_sent() {
        for text in [
            "{ \"b\":1 ,\"a\":12345678901234567890123, \"b\":2}",
            r#""\ud800""#,
            r#"{"nul":"\u0000"}"#,
            "1e999",
            "null",
        ] {
            assert_eq!(parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "NaN", "Infinity", "{'a':1}", "{\"a\":1}x", "[1,]", "\u{feff}{}", "\"\u{1}\"", "01"] {
            assert!(parse(text).unwrap_err().to_string().contains("must be JSON"), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_at_exactly_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(64)).is_ok());
        assert!(parse(&nested(65)).unwrap_err().to_string().contains("64 levels"));
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        assert!(parse(&format!("\"{}\"", "[\\\"".repeat(100))).is_ok());
    }

    #[test]
    fn size_is_bounded_at_exactly_the_limit() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(parse(&text(1 << 20)).is_ok());
        assert!(parse(&text((1 << 20) + 1)).unwrap_err().to_string().contains("1048576 bytes"));
    }
}
