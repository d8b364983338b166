//! Text for a terminal: untrusted text is escaped before output.

use std::borrow::Cow;

use jiff::tz::TimeZone;

/// Escapes control characters, and the invisible characters that reorder or hide text, in the form `\u{1b}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A name as a shell argument: quoted if the name contains white space, so that the end of the name is visible.
pub fn shown_name(name: &str) -> Cow<'_, str> {
    let shown = clean(name);
    if !shown.contains(char::is_whitespace) {
        return shown;
    }
    Cow::Owned(format!("'{}'", shown.replace('\'', "'\\''")))
}

/// [`clean`] for JSON text, whose value stays the same: unsafe characters become `\u001b`, line breaks and tabs become
/// spaces. JSON strings contain no characters below U+0020, so line breaks and tabs occur only between tokens.
pub fn clean_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// JSON text on one line, otherwise unchanged: a line break in valid JSON lies between tokens and may become a space.
pub fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { Cow::Owned(json.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(json) }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text in at most `max` characters; `…` marks a cut at the end.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let keep = max.saturating_sub(1);
            let end = text.char_indices().nth(keep).map_or(text.len(), |(at, _)| at);
            Cow::Owned(format!("{}…", &text[..end]))
        }
    }
}

/// The text in at most `max` characters; `…` marks a cut in the middle, so that both ends of an id stay visible.
pub fn cut_middle(text: &str, max: usize) -> Cow<'_, str> {
    let chars = text.chars().count();
    if chars <= max || max < 3 {
        return cut(text, max);
    }
    let tail = (max - 1) / 2;
    let head: String = text.chars().take(max - 1 - tail).collect();
    let tail: String = text.chars().skip(chars - tail).collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// Time of a protobuf timestamp; `None` if absent or out of range.
pub fn instant(at: Option<&prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok())
}

/// The time in `zone` by a strftime `format`; `-` for none.
pub fn local_time(at: Option<&prost_types::Timestamp>, zone: &TimeZone, format: &str) -> String {
    match instant(at) {
        Some(at) => at.to_zoned(zone.clone()).strftime(format).to_string(),
        None => "-".to_owned(),
    }
}

/// Decimal digits in groups of three: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(clean("plain é 12°C"), "plain é 12°C");
        assert_eq!(clean("\u{1b}[31mred\u{7}\r\n"), "\\u{1b}[31mred\\u{7}\\u{d}\\u{a}");
        assert_eq!(clean("a\u{9b}2Jb\u{7f}"), "a\\u{9b}2Jb\\u{7f}");
        assert_eq!(clean("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
    }

    #[test]
    fn cleaned_json_is_the_same_value_on_one_line() {
        let json = "{\n\t\"a\": \"\u{9b}2J\u{7f}\u{202e}\u{e0041}\"\r\n}";
        let cleaned = clean_json(json);
        assert!(!cleaned.contains(is_unsafe), "{cleaned}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&cleaned), value(json));
        assert_eq!(value(&one_line(json)), value(json));
        assert!(!one_line(json).contains('\n'));
    }

    #[test]
    fn a_name_with_white_space_is_quoted_as_a_shell_takes_it() {
        assert_eq!(shown_name("run-1/é\"'"), "run-1/é\"'");
        assert_eq!(shown_name("night build"), "'night build'");
        assert_eq!(shown_name(" it's "), "' it'\\''s '");
        assert_eq!(shown_name("a\u{202e} b"), "'a\\u{202e} b'");
    }

    #[test]
    fn cuts_fall_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("abc", 0), "…");
        assert_eq!(cut_middle("run-0123456789", 9), "run-…6789");
        assert_eq!(cut_middle("run", 9), "run");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
