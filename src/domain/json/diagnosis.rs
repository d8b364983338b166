//! Error messages for invalid JSON: the path of the error and the correction. Most invalid payloads contain literals of a
//! programming language, such as Python's NaN and None.

/// Maximum nesting depth; a deeper text is reported as an error.
const MAX_DEPTH: usize = 256;

/// Maximum length of a key in a path, in characters.
const SHOWN_CHARS: usize = 64;

/// The first error in a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Path of the invalid value, for instance `scores[0]`; empty: the text as a whole.
    pub path: String,
    /// The error and the correction.
    pub problem: String,
}

/// Finds the first error in a text; `None`: the text is valid JSON.
#[must_use]
pub fn diagnose(text: &str) -> Option<Diagnosis> {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    let problem = scanner.scan().err()?;
    Some(Diagnosis { path: scanner.path(), problem })
}

/// An object or array around the current position.
enum Open<'a> {
    /// An object, at the member with this key.
    Member(&'a str),
    /// An array, at this element.
    Element(usize),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
}

type Found<T> = Result<T, String>;

const CUT_OFF: &str = "it ends too early; it may have been cut off";

impl<'a> Scanner<'a> {
    fn scan(&mut self) -> Found<()> {
        loop {
            if self.value()? {
                continue;
            }
            // After a value: advance to the next value, or close the surrounding object or array.
            loop {
                match (self.peek(), self.open.last_mut()) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return self.around(CUT_OFF.to_owned()),
                    (Some(b','), Some(Open::Element(index))) => {
                        *index += 1;
                        self.at += 1;
                        if self.peek() == Some(b']') {
                            return self.around("there is a comma behind its last element; take it out".to_owned());
                        }
                        break;
                    }
                    (Some(b','), Some(Open::Member(_))) => {
                        self.at += 1;
                        if self.peek() == Some(b'}') {
                            return self.around("there is a comma behind its last member; take it out".to_owned());
                        }
                        self.key()?;
                        break;
                    }
                    (Some(b']'), Some(Open::Element(_))) | (Some(b'}'), Some(Open::Member(_))) => {
                        self.at += 1;
                        self.open.pop();
                    }
                    (Some(b'/' | b'#'), _) => return Err("JSON has no comments; take it out".to_owned()),
                    (Some(_), None) => return Err("there is something behind its end".to_owned()),
                    (Some(_), Some(_)) => return Err("there is no comma and no end behind it".to_owned()),
                }
            }
        }
    }

    /// Takes a value. True: the start of a non-empty object or array, whose first value comes next.
    fn value(&mut self) -> Found<bool> {
        match self.peek() {
            None => Err(CUT_OFF.to_owned()),
            Some(b'{') => {
                self.at += 1;
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    return Ok(false);
                }
                self.opened(Open::Member(""))?;
                self.key().map(|()| true)
            }
            Some(b'[') => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Ok(false);
                }
                self.opened(Open::Element(0)).map(|()| true)
            }
            Some(b'"') => self.string().map(|_| false),
            Some(_) => self.word().map(|()| false),
        }
    }

    fn opened(&mut self, open: Open<'a>) -> Found<()> {
        self.open.push(open);
        if self.open.len() > MAX_DEPTH { Err(format!("nests more than {MAX_DEPTH} levels deep")) } else { Ok(()) }
    }

    /// Takes a key and its colon.
    fn key(&mut self) -> Found<()> {
        match self.peek() {
            Some(b'"') => {}
            None => return self.around(CUT_OFF.to_owned()),
            Some(_) => return self.around("the name of a member must be a string in double quotes".to_owned()),
        }
        let key = self.string()?;
        if let Some(open) = self.open.last_mut() {
            *open = Open::Member(key);
        }
        match self.peek() {
            Some(b':') => self.at += 1,
            _ => return Err("there is no colon behind its name".to_owned()),
        }
        Ok(())
    }

    /// Takes a string; returns the raw text between the quotes.
    fn string(&mut self) -> Found<&'a str> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.text.as_bytes().get(self.at) {
                None => return Err("a string has no end; it may have been cut off".to_owned()),
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(byte @ 0..0x20) => {
                    return Err(format!("a string holds the control character U+{byte:04X}; send it as \\u{byte:04x}"));
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(self.text.get(start..self.at - 1).unwrap_or_default())
    }

    fn escape(&mut self) -> Found<()> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match rest.chars().next() {
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => self.at += 2,
            Some('u') if rest.get(1..5).is_some_and(is_hex) => self.at += 6,
            Some(c) => {
                return Err(format!("a string holds \\{c}, which is no escape of JSON; send \\\\ for a backslash"));
            }
            None => return Err("a string has no end; it may have been cut off".to_owned()),
        }
        Ok(())
    }

    /// Takes a number or a word.
    fn word(&mut self) -> Found<()> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | '[' | ']' | '{' | '}' | '"'));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        if matches!(word, "true" | "false" | "null") || is_number(word) {
            return Ok(());
        }
        Err(match word.strip_prefix(['-', '+']).unwrap_or(word).to_ascii_lowercase().as_str() {
            "nan" | "infinity" | "inf" => format!("{word} is none; send null or a string"),
            "none" | "null" | "nil" | "undefined" => format!("{word} is none; send null"),
            "true" => format!("{word} is none; send true"),
            "false" => format!("{word} is none; send false"),
            _ => match word.chars().next() {
                None => "a value is missing".to_owned(),
                Some('\'') => "strings are in double quotes, not in single ones".to_owned(),
                Some('/' | '#') => "JSON has no comments; take it out".to_owned(),
                // Unknown words are not quoted in the message: a word may be a secret, and messages are logged.
                Some('0'..='9' | '-' | '+' | '.') => {
                    "JSON has no such number; send one like 1, -0.5 or 2e10".to_owned()
                }
                Some(_) => "text without quotes is none; send a string in double quotes".to_owned(),
            },
        })
    }

    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// An error of the surrounding object or array, not of the current value.
    fn around<T>(&mut self, problem: String) -> Found<T> {
        self.open.pop();
        Err(problem)
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match open {
                Open::Element(index) => path.push_str(&format!("[{index}]")),
                Open::Member(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.extend(key.chars().take(SHOWN_CHARS));
                }
            }
        }
        path
    }
}

fn is_number(word: &str) -> bool {
    // serde_json accepts a word with this first character only if the word is a JSON number.
    word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_other_languages_are_reported_with_their_path_and_a_correction() {
        for (text, path, problem) in [
            (r#"{"payload":{"score":NaN}}"#, "payload.score", "NaN is none; send null or a string"),
            (r#"[{},{"a":[1,-Infinity]}]"#, "[1].a[1]", "-Infinity is none; send null or a string"),
            (r#"{"a":{"b":None}}"#, "a.b", "None is none; send null"),
            (r#"{"a":undefined}"#, "a", "undefined is none; send null"),
            (r#"{"a":True,"b":1}"#, "a", "True is none; send true"),
            (r#"{"a":'x'}"#, "a", "strings are in double quotes, not in single ones"),
            (r#"{'a':1}"#, "", "the name of a member must be a string in double quotes"),
            (r#"{"x":{a:1}}"#, "x", "the name of a member must be a string in double quotes"),
            (r#"{"a":[1,2,]}"#, "a", "there is a comma behind its last element; take it out"),
            (r#"{"a":{"b":1,}}"#, "a", "there is a comma behind its last member; take it out"),
            (r#"{"a":01}"#, "a", "JSON has no such number; send one like 1, -0.5 or 2e10"),
            (r#"{"a":+1}"#, "a", "JSON has no such number; send one like 1, -0.5 or 2e10"),
            (r#"{"a":.5}"#, "a", "JSON has no such number; send one like 1, -0.5 or 2e10"),
            ("{\"a\":\"x\ny\"}", "a", "a string holds the control character U+000A; send it as \\u000a"),
            (r#"{"a":"C:\dir"}"#, "a", "a string holds \\d, which is no escape of JSON; send \\\\ for a backslash"),
            ("{\"a\":1 // one\n}", "a", "JSON has no comments; take it out"),
            (r#"{"a":1 "b":2}"#, "a", "there is no comma and no end behind it"),
            (r#"{"a" 1}"#, "a", "there is no colon behind its name"),
            (r#"{"a":[1"#, "a", CUT_OFF),
            (r#"{"a":"#, "a", CUT_OFF),
            (r#"{"a":"x"#, "a", "a string has no end; it may have been cut off"),
            ("{} {}", "", "there is something behind its end"),
            ("", "", CUT_OFF),
            ("NaN", "", "NaN is none; send null or a string"),
            (r#"{"a":,"b":1}"#, "a", "a value is missing"),
            (r#"{"a":hello}"#, "a", "text without quotes is none; send a string in double quotes"),
        ] {
            let expected = Diagnosis { path: path.to_owned(), problem: problem.to_owned() };
            assert_eq!(diagnose(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn json_has_nothing_wrong() {
        for text in ["{}", "[]", " [1, -0.5e+3 ,\"\\u00e9\\\"\", {\"a\" : {}} ] ", "null", "\"\"", "-0", "1e999"] {
            assert_eq!(diagnose(text), None, "{text}");
        }
        assert!(diagnose(&"[".repeat(1_000_000)).is_some());
    }

    proptest::proptest! {
        #[test]
        fn something_is_found_exactly_where_the_parser_finds_something(
            text in "[{}\\[\\],:\"0-9a-zN .\\\\-]{0,24}|.{0,12}",
        ) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            proptest::prop_assert_eq!(diagnose(&text).is_none(), is_json, "{}", text);
        }
    }
}
