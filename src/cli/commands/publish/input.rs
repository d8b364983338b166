//! Reader of `publish --stdin`: lines are limited in size and number, checked, and numbered.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use prost::Message;
use tokio::sync::mpsc;

use super::line;
use super::line::Defaults;
use crate::pb;

/// Lines that are read ahead.
const READ_AHEAD: usize = 64;
/// Limit of a line, bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A line without an answer yet.
pub struct Pending {
    /// Line number, from 1.
    pub line: u64,
    /// Byte offset behind the line in the input.
    pub end: u64,
    /// Size of the encoded request, bytes.
    pub bytes: usize,
    /// Request for the event of the line.
    pub request: pb::PublishRequest,
}

/// A line of the input: an event, or line number, end offset and problem of an invalid line.
pub type Input = Result<Pending, (u64, u64, String)>;

/// Reads stdin in a separate thread, since a blocked read must not keep the program from ending.
pub fn read_stdin(defaults: Defaults) -> mpsc::Receiver<Input> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || read_lines(std::io::stdin().lock(), &defaults, &sender));
    lines
}

/// Reads until the end of the input, an error, or a closed receiver.
fn read_lines(input: impl Read, defaults: &Defaults, sender: &mpsc::Sender<Input>) {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let (mut line, mut end) = (0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = (&mut input).take(MAX_LINE_BYTES).read_until(b'\n', &mut text);
        line += 1;
        end += text.len() as u64;
        let too_long = text.len() as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n");
        let (request, go_on) = match read {
            Ok(0) => return,
            Ok(_) if too_long => (Err(format!("is longer than {MAX_LINE_BYTES} bytes; the rest was not read")), false),
            Ok(_) if text.trim_ascii().is_empty() => continue,
            Ok(_) => (parse(&text, defaults), true),
            Err(error) => (Err(format!("cannot read on: {error}")), false),
        };
        let input = match request {
            Ok(request) => Ok(Pending { line, end, bytes: request.encoded_len(), request }),
            Err(problem) => Err((line, end, problem)),
        };
        if sender.blocking_send(input).is_err() || !go_on {
            return;
        }
    }
}

fn parse(text: &[u8], defaults: &Defaults) -> Result<pb::PublishRequest, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("must be UTF-8: {error}"))?;
    line::parse(text, defaults)
}

/// Size of stdin in bytes, if stdin is a regular file.
pub fn stdin_bytes() -> Option<u64> {
    Some(stdin_file()?.metadata().ok()?.len())
}

/// Handle of stdin, if stdin is a regular file.
pub fn stdin_file() -> Option<File> {
    let file = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line numbers, with the problem of each invalid line.
    fn read(input: impl Read) -> Vec<(u64, Option<String>)> {
        let (sender, mut lines) = mpsc::channel(100);
        read_lines(input, &Defaults { run_id: Some("r".into()), ..Default::default() }, &sender);
        drop(sender);
        std::iter::from_fn(|| lines.try_recv().ok())
            .map(|input| input.map_or_else(|(line, _, problem)| (line, Some(problem)), |pending| (pending.line, None)))
            .collect()
    }

    #[test]
    fn a_bad_line_is_reported_by_its_number_and_stops_nothing() {
        let lines = read(&b"{\"type\":\"a\"}\n\n  \nnope\n\xff\n{\"type\":7}\r\n{\"type\":\"b\"}"[..]);
        let numbers: Vec<_> = lines.iter().map(|(line, problem)| (*line, problem.is_none())).collect();
        assert_eq!(numbers, [(1, true), (4, false), (5, false), (6, false), (7, true)]);
        let problem = |i: usize| lines[i].1.as_deref().unwrap();
        assert!(problem(1).starts_with("must be a JSON object"));
        assert!(problem(2).starts_with("must be UTF-8"));
        assert_eq!(problem(3), "type: must be a string");
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let lines = read(std::io::repeat(b'x'));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].1.as_deref().unwrap().starts_with("is longer than"));
    }
}
