//! Output of the commands: events, runs, progress, text.

pub mod json_line;
pub mod preview;
pub mod progress;
pub mod published;
pub mod render;
pub mod text;
