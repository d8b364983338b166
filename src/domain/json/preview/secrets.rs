//! Masks secrets in JSON texts: the values of members with a key such as `password`.

use std::borrow::Cow;

use crate::domain::json::redaction::members::{decode_lossy, encode_string};

/// Replacement for a secret, a JSON string.
pub(crate) const MASK: &str = "\"[REDACTED]\"";

/// Maximum depth of JSON inside strings inside JSON. Deeper strings are masked as a whole.
const MAX_STRING_LEVELS: usize = 4;

/// Matched anywhere in a key, after the key is reduced to lower-case letters and digits.
const ANYWHERE: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "accesskey",
    "authorization",
    "credential",
    "cookie",
];

/// Matched only as a whole word of a key: part of too many harmless words ("author", "obsession").
const AS_A_WORD: [&str; 8] = ["auth", "oauth", "authn", "bearer", "jwt", "pwd", "session", "sessions"];

/// Whether the key is one of a secret. `raw_value` is the JSON text of the member's value: a number under `…tokens` is a
/// count, not a secret.
#[must_use]
pub fn is_secret(key: &str, raw_value: &str) -> bool {
    let squeezed: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let is_number = raw_value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let words = words(key);
    ANYWHERE.iter().any(|needle| squeezed.contains(needle))
        || words.iter().any(|word| AS_A_WORD.contains(&word.as_str()) || word == "token")
        || squeezed.ends_with("token")
        || squeezed.starts_with("sessionid")
        || (squeezed.ends_with("tokens") && !is_number)
}

/// The words of a key in lower case: "X-API-Key", "xApiKey" and "x_api_key" are all x, api, key.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last_was_lower = false;
    for c in key.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && last_was_lower) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        last_was_lower = c.is_lowercase() || c.is_numeric();
    }
    words
}

/// Masks secrets at every depth, also inside strings with JSON; all other bytes stay as sent. Borrowed: no secret found. The
/// text may be incomplete, such as a preview cut by its producer.
pub(crate) fn mask(json: &str) -> Cow<'_, str> {
    mask_at(json, 0)
}

fn mask_at(json: &str, level: usize) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json[at..].find('"') {
        let start = at + found;
        let end = string_end(json, start);
        at = end;
        let literal = &json[start..end];
        // In valid JSON a string is a key exactly if a colon comes next.
        let (range, masked) = if let Some(value_start) = after_colon(json, end) {
            let key = decode_lossy(literal).unwrap_or(Cow::Borrowed(literal));
            // The end of the value is searched only for secrets: a search for every nested value would take quadratic time.
            if !is_secret(&key, &json[value_start..]) {
                continue;
            }
            let value_end = value_end(json, value_start);
            let value = &json[value_start..value_end];
            // Already masked, possibly cut afterwards.
            if value == MASK || (value_end == json.len() && MASK.starts_with(value)) {
                at = value_end;
                continue;
            }
            (value_start..value_end, MASK.to_owned())
        } else if let Some(masked) = mask_json_in_string(literal, level) {
            (start..end, masked)
        } else {
            continue;
        };
        out.push_str(&json[copied..range.start]);
        out.push_str(&masked);
        copied = range.end;
        at = range.end;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// Masks JSON inside a string, a common form of tool arguments. `None`: the string does not begin as an object or array, or
/// has no secret.
fn mask_json_in_string(literal: &str, level: usize) -> Option<String> {
    let text = decode_lossy(literal).or_else(|| decode_cut_off(literal))?;
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    if level >= MAX_STRING_LEVELS {
        return Some(MASK.to_owned());
    }
    match mask_at(&text, level + 1) {
        Cow::Borrowed(_) => None,
        Cow::Owned(masked) => Some(encode_string(&masked)),
    }
}

/// Decodes a string literal without closing quote. An incomplete escape at the end is dropped.
fn decode_cut_off(literal: &str) -> Option<Cow<'static, str>> {
    const LONGEST_ESCAPE: usize = r"\ud83d\ude00".len();
    let mut ends = literal.char_indices().rev().map(|(at, c)| at + c.len_utf8()).take(LONGEST_ESCAPE);
    ends.find_map(|end| decode_lossy(&format!("{}\"", &literal[..end])).map(|text| text.into_owned().into()))
}

/// End of the string literal that starts at `start`, after its closing quote.
fn string_end(json: &str, start: usize) -> usize {
    let bytes = json.as_bytes();
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// Start of the value after a colon; `None`: no colon comes next.
fn after_colon(json: &str, at: usize) -> Option<usize> {
    let rest = json[at..].trim_start().strip_prefix(':')?.trim_start();
    Some(json.len() - rest.len())
}

/// End of the value that starts at `start`.
fn value_end(json: &str, start: usize) -> usize {
    let bytes = json.as_bytes();
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(json, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + depth,
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_name_secrets_are_known_in_every_spelling() {
        for key in [
            "password",
            "userPassword",
            "DB_PASSWD",
            "client-secret",
            "clientSecret",
            "token",
            "access_token",
            "accessToken",
            "accesstoken",
            "api_key",
            "apikey",
            "apiKey",
            "X-API-Key",
            "APIKey",
            "Authorization",
            "auth",
            "authHeader",
            "Set-Cookie",
            "credentials",
            "private_key",
            "privateKey",
            "aws_access_key_id",
            "session",
            "sessionId",
            "session_id",
            "sessionid",
            "token_value",
            "refresh_tokens",
        ] {
            assert!(is_secret(key, "\"x\""), "{key}");
        }
    }

    #[test]
    fn harmless_keys_are_left_alone() {
        for key in ["author", "authority", "query", "tokenizer", "obsession", "keyboard", "key", "passage", ""] {
            assert!(!is_secret(key, "\"x\""), "{key}");
        }
        assert!(!is_secret("prompt_tokens", "150"));
        assert!(!is_secret("maxTokens", "150"));
    }

    #[test]
    fn secrets_are_masked_at_every_depth_and_the_rest_stays_as_sent() {
        let json =
            r#"{ "a": [ {"password" : {"x":["]}"]} , "n":1.0}, {"token":12 }],"b":"\"password\":1","api_key":null}"#;
        let masked = r#"{ "a": [ {"password" : "[REDACTED]" , "n":1.0}, {"token":"[REDACTED]" }],"b":"\"password\":1","api_key":"[REDACTED]"}"#;
        assert_eq!(mask(json), masked);
        assert!(matches!(mask(r#"{"a":"password"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        assert_eq!(mask(r#"{"pass\u0077ord":1}"#), r#"{"pass\u0077ord":"[REDACTED]"}"#);
    }

    #[test]
    fn a_text_that_was_cut_off_hides_no_secret() {
        let whole =
            r#"{"a":[{"password":"hunter2","note":"x"}],"arguments":"{\"token\":\"hunter2\",\"b\":\"\u00e9\"}"}"#;
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let sent = encode_string(&whole[..end]);
            let masked = mask(&sent);
            assert!(!masked.contains("hunter"), "{sent}: {masked}");
            assert!(matches!(mask(&masked), Cow::Borrowed(_)), "once: {masked}");
        }
        let lines = encode_string("{\"password\":\"hunter2\"}\n{\"token\":\"hunter2\"}");
        assert!(!mask(&lines).contains("hunter2"));
    }

    #[test]
    fn objects_in_objects_are_masked_in_one_pass() {
        // With quadratic time this test would not end.
        let levels = 200_000;
        let deep = encode_string(&format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)));
        assert!(matches!(mask(&deep), Cow::Borrowed(_)));
    }

    #[test]
    fn json_in_a_string_is_looked_into() {
        let json = r#"{"arguments":"{\"password\": \"hunter2\"}"}"#;
        assert_eq!(mask(json), r#"{"arguments":"{\"password\": \"[REDACTED]\"}"}"#);
        let mut nested = r#"{"password":"hunter2"}"#.to_owned();
        for _ in 0..8 {
            nested = encode_string(&nested);
            nested = format!("[{nested}]");
        }
        assert!(!mask(&nested).contains("hunter2"));
    }
}
