//! Output of the commands: events, runs, progress, text.

pub mod format;
pub mod json_line;
pub mod preview;
pub mod printer;
pub mod progress;
pub mod published;
pub mod render;
pub mod text;
