//! Request headers of the public runs API; each may be given once.

use axum::http::HeaderMap;

use crate::transport::rest::HttpError;
use crate::transport::rest::headers::one;

/// Header that makes a retry safe, as spelled in error messages.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Value of `Idempotency-Key`, 1 to 200 characters; `None` when absent.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let key = one(headers, IDEMPOTENCY_KEY)?;
    match &key {
        Some(key) if key.is_empty() || key.len() > 200 => {
            Err(HttpError::field(IDEMPOTENCY_KEY, "must be 1 to 200 characters"))
        }
        _ => Ok(key),
    }
}

/// Condition of a publish on the state of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The run exists.
    Exists,
    /// The last seq of the run is this one; 0: the run does not exist.
    LastSeq(u64),
}

/// Value of `If-Match`: a seq, plain or quoted as an entity tag, or `*` for a run that exists; `None` when absent.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, HttpError> {
    let Some(text) = one(headers, "If-Match")? else { return Ok(None) };
    if text == "*" {
        return Ok(Some(IfMatch::Exists));
    }
    let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&text);
    let is_decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let seq = digits.parse().ok().filter(|_| is_decimal);
    let problem = || HttpError::field("If-Match", "must be the run's last seq, such as 12 or \"12\"");
    seq.map(|seq| Some(IfMatch::LastSeq(seq))).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn if_match_takes_a_seq_plain_or_quoted() {
        let (twelve, none) = (IfMatch::LastSeq(12), IfMatch::LastSeq(0));
        for (text, asked) in [("12", twelve), ("\"12\"", twelve), ("0", none), ("*", IfMatch::Exists)] {
            assert_eq!(if_match(&headers("if-match", text)).unwrap(), Some(asked), "{text}");
        }
        for bad in ["", "\"", "\"\"", "W/\"12\"", "\"1\", \"2\"", "+1", "-1", "99999999999999999999", "x"] {
            let problem = if_match(&headers("if-match", bad)).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (422, Some("If-Match")), "{bad}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_key_is_bounded_and_given_once() {
        assert!(idempotency_key(&headers("idempotency-key", &"k".repeat(200))).is_ok());
        assert!(idempotency_key(&headers("idempotency-key", &"k".repeat(201))).is_err());
        assert!(idempotency_key(&headers("idempotency-key", "é")).is_err());
        let mut twice = headers("idempotency-key", "a");
        twice.append("idempotency-key", "a".parse().unwrap());
        assert!(idempotency_key(&twice).is_err());
    }
}
