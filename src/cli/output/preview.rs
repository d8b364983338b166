//! Preview of a payload in the rest of a line: `phase=end tool_name=web_search output_preview="12°C, cloudy"`.

use anstyle::Style;
use serde_json::value::RawValue;

use super::text::{clean, cut};
use crate::domain::in_order::InOrder;

const KEY: Style = Style::new().dimmed();

/// Correlation ids: of little use to a human reader, so shown last.
const CORRELATORS: [&str; 3] = ["request_id", "task_id", "tool_call_id"];

/// Members of a JSON object in the order of the text, duplicates included.
pub struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Empty for a text that is not a JSON object.
    pub fn of(json: &'a str) -> Self {
        Self::parse(json).unwrap_or(Self(Vec::new()))
    }

    /// Fails on a text that is not a JSON object.
    pub fn parse(json: &'a str) -> serde_json::Result<Self> {
        let InOrder(members) = serde_json::from_str(json)?;
        Ok(Self(members))
    }

    /// Name and JSON text of each member.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Value of a string member; `None` if absent or of another type.
    pub fn string(&self, name: &str) -> Option<String> {
        let (_, raw) = self.0.iter().find(|(key, _)| key == name)?;
        serde_json::from_str(raw.get()).ok()
    }
}

/// The payload in at most `max` characters, with colours; control characters are escaped.
pub fn preview(json: &str, members: &Members<'_>, max: usize) -> String {
    if members.0.is_empty() {
        let json = json.trim();
        return if json == "{}" { String::new() } else { cut(&clean(&compact(json, max)), max).into_owned() };
    }
    let (first, last): (Vec<_>, Vec<_>) = members.iter().partition(|(key, _)| !CORRELATORS.contains(key));
    let mut out = String::new();
    let mut room = max;
    for (i, (key, raw)) in first.into_iter().chain(last).enumerate() {
        let gap = usize::from(i > 0);
        let key = clean(key);
        let head = gap + key.chars().count() + 1;
        // No room for any of the value: an ellipsis stands for the member.
        if room < head + 2 {
            out.push_str(if room > 1 && gap == 1 { " …" } else { "…" });
            break;
        }
        let value = compact(raw.get(), room);
        let value = clean(unquoted(&value));
        let shown = cut(&value, room - head);
        out.push_str(if gap == 1 { " " } else { "" });
        out.push_str(&format!("{KEY}{key}={KEY:#}{shown}"));
        let chars = shown.chars().count();
        if shown.len() != value.len() || chars + head >= room {
            break;
        }
        room -= head + chars;
    }
    out
}

/// The text without white space between tokens, cut after `max` + 1 characters: enough to see that the text is longer.
fn compact(json: &str, max: usize) -> String {
    let (mut in_string, mut escaped, mut chars) = (false, false, 0);
    let mut out = String::new();
    for c in json.chars() {
        match (in_string, c) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => in_string = !in_string,
            (false, ' ' | '\t' | '\n' | '\r') => continue,
            _ => {}
        }
        out.push(c);
        chars += 1;
        if chars > max {
            break;
        }
    }
    out
}

/// Drops the quotes of a string that is one plain word.
fn unquoted(json: &str) -> &str {
    // The closing quote may be cut off.
    let word = json.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest));
    match word {
        Some(word) if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_.:/+@".contains(c)) => word,
        _ => json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(json: &str, max: usize) -> String {
        anstream::adapter::strip_str(&preview(json, &Members::of(json), max)).to_string()
    }

    #[test]
    fn members_are_shown_in_their_order_and_correlators_last() {
        assert_eq!(plain(r#"{"request_id":"5f","from":"a","to":"b"}"#, 200), "from=a to=b request_id=5f");
        let json = "{ \"phase\" : \"end\", \"ms\":7.50,\n\"out\": \"12 °C\", \"b\":{ \"x\" : [1, 2] }, \"phase\":null}";
        assert_eq!(plain(json, 200), r#"phase=end ms=7.50 out="12 °C" b={"x":[1,2]} phase=null"#);
        assert_eq!(plain("[1, 2]", 200), "[1,2]");
        assert_eq!(plain("{}", 200), "");
        assert_eq!(plain("", 200), "");
    }

    #[test]
    fn a_long_payload_is_cut_to_the_line() {
        let json = format!("{{\"a\":\"{}\",\"b\":1}}", "ß".repeat(1_000_000));
        for max in 0..80 {
            let text = plain(&json, max);
            assert!(text.chars().count() <= max.max(1), "{max}: {text}");
            assert!(text.contains('…'));
        }
        let many = format!("{{{}\"z\":0}}", "\"key\":\"value\",".repeat(1_000));
        for max in 0..80 {
            assert!(plain(&many, max).chars().count() <= max.max(1), "{max}");
        }
    }

    #[test]
    fn control_characters_stay_escaped() {
        let text = plain("{\"a\u{9b}\":\"\\u001b[2J\u{7f}\u{202e}x\"}", 200);
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.starts_with("a\\u{9b}="));
    }
}
