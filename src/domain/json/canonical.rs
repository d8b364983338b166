//! Canonical form of JSON texts: equal for texts that are equal as JSON. Payloads of retries are compared by this form, since
//! a producer may encode a retry differently.
//!
//! Members are sorted by key, numbers compare by value with all digits, strings by their decoded content. Members with the
//! same key keep their order, since JSON parsers differ in the one that counts.

use std::ops::Range;

use super::redaction::members::decode_bytes;

/// Depth limit of the recursion, above the limit of payloads. Deeper text is copied as it is, so that no input can exhaust
/// the stack.
const MAX_DEPTH: usize = 256;

/// The canonical form of a valid JSON text. For comparison only; the result is not JSON.
#[must_use]
pub fn canonical(json: &str) -> Vec<u8> {
    let mut writer = Writer { json, at: 0, depth: 0, out: Vec::with_capacity(json.len()) };
    writer.value();
    writer.out
}

struct Writer<'a> {
    json: &'a str,
    at: usize,
    depth: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Skips white space and returns the next byte; 0: the end.
    fn peek(&mut self) -> u8 {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn value(&mut self) {
        let first = self.peek();
        if self.depth == MAX_DEPTH {
            self.out.extend_from_slice(self.json.as_bytes().get(self.at..).unwrap_or_default());
            self.at = self.json.len();
            return;
        }
        self.depth += 1;
        match first {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.literal(),
        }
        self.depth -= 1;
    }

    fn array(&mut self) {
        self.at += 1;
        self.out.push(b'[');
        while !matches!(self.peek(), b']' | 0) {
            self.value();
            self.out.push(b',');
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        self.out.push(b']');
    }

    fn object(&mut self) {
        self.at += 1;
        self.out.push(b'{');
        // Ranges in `out` of each member and of its key.
        let mut members: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let start = self.out.len();
        while !matches!(self.peek(), b'}' | 0) {
            let member = self.out.len();
            self.string();
            let key = member..self.out.len();
            if self.peek() == b':' {
                self.at += 1;
            }
            self.value();
            self.out.push(b',');
            members.push((member..self.out.len(), key));
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        if !members.is_sorted_by_key(|(_, key)| &self.out[key.clone()]) {
            members.sort_by_key(|(_, key)| &self.out[key.clone()]);
            let sorted: Vec<u8> = members.into_iter().flat_map(|(member, _)| &self.out[member]).copied().collect();
            self.out.truncate(start);
            self.out.extend_from_slice(&sorted);
        }
        self.out.push(b'}');
    }

    fn string(&mut self) {
        let start = self.at;
        let bytes = self.json.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(bytes.len());
        self.out.push(b'"');
        for byte in decode_bytes(self.json.get(start..self.at).unwrap_or_default()).unwrap_or_default().iter() {
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(*byte);
        }
        self.out.push(b'"');
    }

    fn number(&mut self) {
        let lexeme = self.token(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = by_value(lexeme);
        self.out.extend_from_slice(number.as_ref().map_or(lexeme.as_bytes(), String::as_bytes));
    }

    fn literal(&mut self) {
        let word = self.token(|byte| byte.is_ascii_alphabetic());
        self.out.extend_from_slice(word.as_bytes());
        if word.is_empty() {
            // Not JSON: skip the byte, so that the loop ends.
            self.at += 1;
        }
    }

    fn token<'a>(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str
    where
        Self: 'a,
    {
        let start = self.at;
        let rest = self.json.as_bytes().get(start..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| belongs(**byte)).count();
        self.json.get(start..self.at).unwrap_or_default()
    }
}

/// Normal form of a number: sign, significant digits and exponent of ten. `None`: the exponent exceeds an `i64`, and the
/// number equals only the same text.
fn by_value(lexeme: &str) -> Option<String> {
    let (sign, unsigned) = lexeme.strip_prefix('-').map_or(("", lexeme), |unsigned| ("-", unsigned));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent: i64 = exponent.parse().ok()?;
    let shift = i64::try_from(zeros).ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some(format!("{sign}{significant}e{}", exponent.checked_add(shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        canonical(one) == canonical(other)
    }

    #[test]
    fn order_space_escapes_and_the_way_a_number_is_written_make_no_difference() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true , null ] ,\n\t\"a\" : 1.0 }"),
            (r#"{"a":{"y":2,"x":1}}"#, r#"{"a":{"x":1e0,"y":20e-1}}"#),
            (r#""\u00e9\/\ud83d\ude80""#, "\"é/🚀\""),
            ("100", "1E+2"),
            ("0", "-0.000e5"),
            ("0.00120", "12e-4"),
            (r#"{"\u0061":"x"}"#, r#"{"a":"x"}"#),
            ("[]", " [ ] "),
            ("1e999999999999999999999", "1e999999999999999999999"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn other_content_is_other_content() {
        for (one, other) in [
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("12345678901234567890123", "12345678901234567890124"),
            ("0.1", "0.10000000000000001"),
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[[1,2]]"),
            (r#"["a,b"]"#, r#"["a","b"]"#),
            (r#"["a\",\"b"]"#, r#"["a","b"]"#),
            // Parsers differ in the one of two members that counts.
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\ud800""#, r#""\ufffd""#),
            ("1e5", "1e6"),
            ("-1", "1"),
            ("true", "false"),
            (r#"{"a":"b"}"#, r#"["a","b"]"#),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn text_that_is_no_json_ends_all_the_same() {
        for text in ["", "{", "[", "\"", "\"\\", "{\"a\"", "{\"a\":", "[1", "}", "?", "{a:1}", "[\u{e9}]", "- - -"] {
            let _ = canonical(text);
        }
    }

    #[test]
    fn a_text_that_nests_without_end_is_compared_without_exhausting_the_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |inner: &str| format!("{}{inner}{}", open.repeat(1_000_000), close.repeat(1_000_000));
            assert!(same(&nested("1"), &nested("1")) && !same(&nested("1"), &nested("2")));
            let _ = canonical(&open.repeat(1_000_000));
        }
    }

    proptest::proptest! {
        #[test]
        fn two_numbers_are_the_same_exactly_if_their_values_are(
            a in -2000_i64..2000, b in -2000_i64..2000, shift in 0_usize..4, exponent in -3_i32..3,
        ) {
            let power = |digits: i64| format!("{digits}e{exponent}");
            let shifted = |digits: i64| format!("{digits}{}e{}", "0".repeat(shift), exponent - i32::try_from(shift).unwrap());
            proptest::prop_assert_eq!(same(&power(a), &shifted(b)), a == b);
        }
    }
}
