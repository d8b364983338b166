//! Texts in the state of a run, cut to a maximum length.

/// Maximum length of short texts in the state of a run (model, channel, reason), in characters.
const MAX_WORD_CHARS: usize = 200;

/// A short text, cut to its maximum length.
pub fn short(word: &str) -> String {
    cut(word, MAX_WORD_CHARS).to_owned()
}

/// The first `max` characters.
pub fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}
