//! Previews and summaries of tool input and output, with limits and masked secrets.
//!
//! Sources of the rules: the agent SDK (previews of 500 characters) and public run events (summaries with a preview of 240
//! characters and 10 highlights). A character is a Unicode scalar value.

mod literal;
mod secrets;
mod summary;
mod truncate;

pub use secrets::is_secret;
pub use summary::{preview_of, tool_summary};
pub use truncate::cut_previews;

/// Limits of previews and summaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewLimits {
    /// Maximum length of `input_preview` and `output_preview` of a `tool_call`, in characters.
    pub tool_call_chars: usize,
    /// Maximum length of a summary's `preview` and of a highlight's key and value, in characters.
    pub summary_chars: usize,
    /// Maximum number of highlights of a summary.
    pub highlights: usize,
}

impl PreviewLimits {
    /// The limits of the agent SDK and of public run events.
    pub const DOCUMENTED: Self = Self { tool_call_chars: 500, summary_chars: 240, highlights: 10 };
}

impl Default for PreviewLimits {
    fn default() -> Self {
        Self::DOCUMENTED
    }
}
