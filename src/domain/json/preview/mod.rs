//! Previews: the bounded beginnings of what tools were given and gave back.
//!
//! Sources of the rules: the agent SDK's page (previews of 500 characters) and the tool summary envelope of the public run
//! events reference (preview of 240 characters, 10 highlights). A character is a Unicode scalar value.

mod secrets;
mod summary;
mod truncate;

pub use secrets::is_secret;
pub use summary::{preview_of, tool_summary};
pub use truncate::cut_previews;

/// How long previews may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewLimits {
    /// `input_preview` and `output_preview` of a `tool_call`, in characters.
    pub tool_call_chars: usize,
    /// `preview` of a tool summary, in characters; also a highlight's key and value.
    pub summary_chars: usize,
    /// Highlights of a tool summary.
    pub highlights: usize,
}

impl PreviewLimits {
    /// What the reference pages document.
    pub const DOCUMENTED: Self = Self { tool_call_chars: 500, summary_chars: 240, highlights: 10 };
}

impl Default for PreviewLimits {
    fn default() -> Self {
        Self::DOCUMENTED
    }
}
