//! Redaction: removes client-supplied top-level members from a payload, a rule of public run events.

pub mod members;

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;

use members::{Member, members, offset_in};

/// Top-level members that the public view removes.
pub const SENSITIVE_KEYS: [&str; 4] = ["input", "metadata", "attachment_refs", "sensitivity_tags"];

/// Whether [`redact`] removes any member.
pub fn is_sensitive(json: &str) -> bool {
    may_be_sensitive(json) && members(json).is_some_and(|members| members.iter().any(is_sensitive_member))
}

/// The payload without its sensitive top-level members; all other bytes stay as sent.
///
/// `None`: the payload is not an object or has no sensitive member. Keys are compared decoded (`"\u0069nput"` is `input`),
/// and every member of a repeated key is removed.
pub fn redact(json: &str) -> Option<String> {
    if !may_be_sensitive(json) {
        return None;
    }
    without(json, &members(json)?, is_sensitive_member)
}

/// The object without the members that `leaves_out` selects; `members` are all its members. `None`: no member is selected.
pub(crate) fn without(json: &str, members: &[Member<'_>], leaves_out: impl Fn(&Member<'_>) -> bool) -> Option<String> {
    if !members.iter().any(&leaves_out) {
        return None;
    }
    let open = json.find('{')?;
    let close = json.rfind('}')?;
    let mut left = String::with_capacity(json.len());
    left.push_str(&json[..=open]);
    let mut slot_start = open + 1;
    let mut is_first = true;
    for (index, member) in members.iter().enumerate() {
        let slot_end = match members.get(index + 1) {
            Some(next) => comma_between(json, member, next)?,
            None => close,
        };
        if !leaves_out(member) {
            if !is_first {
                left.push(',');
            }
            is_first = false;
            left.push_str(&json[slot_start..slot_end]);
        }
        slot_start = slot_end + 1;
    }
    left.push_str(&json[close..]);
    Some(left)
}

/// Fast path for most payloads, which have none of the keys: a search of the bytes. An escape may hide a key.
fn may_be_sensitive(json: &str) -> bool {
    // `None` on a processor without SIMD support; every payload is parsed then.
    static SIGNS: LazyLock<Option<Searcher>> =
        LazyLock::new(|| Searcher::new(SENSITIVE_KEYS.into_iter().chain(["\\u"])));
    SIGNS.as_ref().is_none_or(|signs| signs.find(json).is_some())
}

fn is_sensitive_member(member: &Member<'_>) -> bool {
    SENSITIVE_KEYS.contains(&member.key().as_ref())
}

/// Byte offset of the comma between two neighbouring members; all else between the two is white space.
fn comma_between(json: &str, left: &Member<'_>, right: &Member<'_>) -> Option<usize> {
    let gap_start = offset_in(json, left.raw_value) + left.raw_value.len();
    let gap_end = offset_in(json, right.raw_key);
    json[gap_start..gap_end].find(',').map(|at| gap_start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sensitive_key_is_left_out_and_the_rest_stays_as_sent() {
        let sent =
            r#" { "a" : 1.0 , "input": {"x": [1, 2]},"b":"\u00e9" , "metadata" :null, "c":12345678901234567890 } "#;
        let public = r#" { "a" : 1.0 ,"b":"\u00e9" , "c":12345678901234567890 } "#;
        assert_eq!(redact(sent).as_deref(), Some(public));
        assert!(is_sensitive(sent));
        for key in SENSITIVE_KEYS {
            assert_eq!(redact(&format!(r#"{{"{key}":1}}"#)).as_deref(), Some("{}"));
        }
    }

    #[test]
    fn the_first_and_the_last_member_can_be_left_out() {
        assert_eq!(redact(r#"{"input":1,"a":2}"#).as_deref(), Some(r#"{"a":2}"#));
        assert_eq!(redact(r#"{"a":2,"input":1}"#).as_deref(), Some(r#"{"a":2}"#));
        assert_eq!(redact("{\n \"input\": 1\n}\n").as_deref(), Some("{}\n"));
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        assert_eq!(redact(r#"{"\u0069nput":1,"a":2}"#).as_deref(), Some(r#"{"a":2}"#));
    }

    #[test]
    fn a_key_that_stands_there_twice_is_left_out_twice() {
        assert_eq!(redact(r#"{"input":1,"a":2,"input":3}"#).as_deref(), Some(r#"{"a":2}"#));
    }

    #[test]
    fn only_the_top_level_of_an_object_counts() {
        for json in [
            r#"{"a":{"input":1}}"#,
            r#"{"Input":1}"#,
            r#"{"a":"input"}"#,
            r#"[{"input":1}]"#,
            r#""input""#,
            "null",
            "{}",
            "",
            "{\"input\":",
            r#"{"\ud800input":1}"#,
        ] {
            assert_eq!(redact(json), None, "{json}");
            assert!(!is_sensitive(json), "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_left_is_what_was_sent_without_the_keys(
            keys in proptest::collection::vec("input|metadata|a|b|sensitivity_tags", 0..6),
            space in "[ \n]{0,2}",
        ) {
            let object = |keys: &[(usize, &String)]| {
                let members: Vec<_> = keys
                    .iter()
                    .map(|(at, key)| format!("{space}\"{key}\"{space}:{space}[{at},\"}},{{\"]{space}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            };
            let all: Vec<_> = keys.iter().enumerate().collect();
            let kept: Vec<_> = all
                .iter()
                .copied()
                .filter(|(_, key)| !SENSITIVE_KEYS.contains(&key.as_str()))
                .collect();
            let expected = (kept.len() < all.len()).then(|| object(&kept));
            proptest::prop_assert_eq!(redact(&object(&all)), expected);
        }
    }
}
