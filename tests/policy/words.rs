//! Words that must not come back into comments, identifiers and documents. Each has a term that readers can look up in the
//! documents of comparable systems.

use std::path::{Path, PathBuf};

/// A word, or several adjacent words, and the term to use instead.
const WORDS: [(&str, &str); 30] = [
    ("anew", "again, or the new state: recreated, restarted, rewritten"),
    ("bed", "fixture"),
    ("coordinate", "offset, seq or position"),
    ("coordinates", "offsets, seqs or positions"),
    ("door a", "structure runs API"),
    ("door b", "agent SDK API"),
    ("door c", "public runs API"),
    ("heard", "notified"),
    ("lent", "pooled"),
    ("patience", "deadline or timeout"),
    ("seal", "flush"),
    ("sealing", "flushing"),
    ("seals", "flushes"),
    ("tell", "announce, report or return"),
    ("teller", "announcer"),
    ("telling", "notification"),
    ("tells", "announces, reports or returns"),
    ("thaw", "release"),
    ("thawed", "released"),
    ("thawing", "releasing"),
    ("thaws", "releases"),
    ("told", "announced, notified or received"),
    ("twin", "duplicate"),
    ("twins", "duplicates"),
    ("unseal", "release"),
    ("unsealed", "unflushed"),
    ("unsealing", "releasing"),
    ("unseals", "releases"),
    ("upkeep", "maintenance"),
    ("whoever", "the caller, client or subscriber"),
];

/// Words that stand in a file all the same: file, word, reason.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("CHANGELOG.md", "door b", "the former name of a workload of `runlog bench`"),
    ("CHANGELOG.md", "seal", "options and parts of earlier versions have the name"),
    ("src/server/mod.rs", "upkeep", UPKEEP),
    ("src/telemetry/mod.rs", "upkeep", UPKEEP),
];

const UPKEEP: &str = "`run_upkeep` is a method of metrics-exporter-prometheus";

const THIS_FILE: &str = "tests/policy/words.rs";

fn files(directory: &Path, extensions: &[&str], into: &mut Vec<PathBuf>) {
    const SKIPPED: [&str; 3] = ["fixtures", "node_modules", "target"];
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name) {
                files(&path, extensions, into);
            }
        } else if extensions.iter().any(|extension| path.extension().is_some_and(|of| of == *extension)) {
            into.push(path);
        }
    }
}

/// The source with spaces in place of string and character literals; line breaks stay.
fn without_literals(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut text = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            text.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let end = comment_end(&chars, at).max(at + 1);
            text.extend(&chars[at..end]);
            at = end;
        }
    }
    text
}

/// The end of the comment that begins here, or the same place.
fn comment_end(chars: &[char], at: usize) -> usize {
    let until = |end: &str, from: usize| {
        let end: Vec<char> = end.chars().collect();
        (from..chars.len()).find(|n| chars[*n..].starts_with(&end)).map_or(chars.len(), |n| n + end.len())
    };
    match chars[at..] {
        ['/', '/', ..] => until("\n", at),
        ['/', '*', ..] => until("*/", at + 2),
        _ => at,
    }
}

/// The end of the string or character literal that begins here, or the same place. A lifetime is no literal.
fn literal_end(chars: &[char], at: usize) -> usize {
    let is_name = |n: usize| n > 0 && (chars[n - 1].is_alphanumeric() || chars[n - 1] == '_');
    match chars[at..] {
        ['"', ..] => quoted_end(chars, at, '"'),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted_end(chars, at, '\''),
        ['r', '"' | '#', ..] if !is_name(at) || (chars[at - 1] == 'b' && !is_name(at - 1)) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            let begin = at + 1 + hashes;
            if chars.get(begin) != Some(&'"') {
                return at;
            }
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let found = (begin + 1..chars.len()).find(|n| chars[*n..].starts_with(&end));
            found.map_or(chars.len(), |n| n + end.len())
        }
        _ => at,
    }
}

fn quoted_end(chars: &[char], begin: usize, quote: char) -> usize {
    let mut at = begin + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The words of a line in lower case; names in snake case and camel case are split.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let chars: Vec<char> = line.chars().collect();
    for (n, c) in chars.iter().enumerate() {
        let before = n.checked_sub(1).map_or(' ', |n| chars[n]);
        let after = chars.get(n + 1).copied().unwrap_or(' ');
        let begins = c.is_uppercase() && (before.is_lowercase() || after.is_lowercase());
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The entries of [`WORDS`] in a line.
fn found(line: &str) -> Vec<(&'static str, &'static str)> {
    let words = words(line);
    let is_in = |entry: &str| {
        let entry: Vec<&str> = entry.split(' ').collect();
        words.windows(entry.len()).any(|window| window == entry)
    };
    WORDS.into_iter().filter(|(word, _)| is_in(word)).collect()
}

#[test]
fn words_that_readers_cannot_look_up_do_not_come_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, mut documents) = (Vec::new(), Vec::new());
    for directory in ["src", "proto", "tests"] {
        files(&root.join(directory), &["rs", "proto"], &mut sources);
    }
    files(root, &["md"], &mut documents);
    assert!(sources.len() > 300 && documents.len() > 5, "the files were found");
    let mut wrong = Vec::new();
    for file in sources.iter().chain(&documents) {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let text = if name.ends_with(".md") { text } else { without_literals(&text) };
        for (number, line) in text.lines().enumerate().filter(|_| name != THIS_FILE) {
            for (word, term) in found(line) {
                if !EXCEPTIONS.iter().any(|(in_file, except, _)| (*in_file, *except) == (name, word)) {
                    wrong.push(format!("{name}:{}: {word}; use: {term}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} words:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_reader_of_words_splits_names_and_skips_literals() {
    assert_eq!(words("fn isTold_by(HTTPDoor)"), ["fn", "is", "told", "by", "http", "door"]);
    let of = |source: &str| found(&without_literals(source)).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
    assert_eq!(of("let told_all = DoorB; // nobody's upkeep"), ["door b", "told", "upkeep"]);
    assert_eq!(of("/* told */ fn f<'a>(x: &'a str) {} // tells"), ["tells", "told"]);
    for literal in [r#""told \" told""#, r###"r##"told " told"##"###, r#"b"told""#, r##"br#"told"#"##, r"'\''", "'\"'"]
    {
        assert!(of(&format!("f({literal}, anew)")) == ["anew"], "{literal}");
    }
    assert!(of("/// untold, retell, bedrock, coordination, silent").is_empty());
}
