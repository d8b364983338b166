//! `runlog export` and `runlog import`: a log as a file of lines, to keep it or to move it to another store.
//!
//! `line` is the format in both directions, `source` what is exported from, `output` the file that grows, `input` the lines
//! that are read back.

pub mod export;
pub mod import;
mod input;
mod line;
mod output;
mod source;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr where that is a terminal; without a total a spinner.
fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30.cyan/dim} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner:.cyan}  {msg}"),
    };
    // The templates are constants; a bar in the standard style would do too.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
