//! Exit codes of the commands, and error messages on stderr.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::output::text::clean;

/// Exit codes in the text of `--help`.
pub const HELP: &str = "\
Exit codes:
   0  ok
   1  another error
   3  migrations are pending (`migrate --dry-run`)
  64  wrong options
  65  the input was refused (INVALID_ARGUMENT, OUT_OF_RANGE)
  66  not found: a run, a key, a store, or a file that was named
  69  the server is unavailable or cannot be reached; OUTCOME_UNKNOWN: the input may be stored
  70  the server stopped because of a defect; its log has the details
  73  conflict with what is stored (ALREADY_EXISTS, ABORTED, FAILED_PRECONDITION)
  75  too much at the moment, try again later (RESOURCE_EXHAUSTED)
  76  the server is damaged or speaks another protocol (DATA_LOSS, INTERNAL, UNIMPLEMENTED)
  77  not allowed (PERMISSION_DENIED, UNAUTHENTICATED)
  78  the server cannot start, or a check failed (configuration, store, address)";

/// Error reason of a request above the server's size limits.
pub const TOO_LARGE: &str = "REQUEST_TOO_LARGE";

const ERROR: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Exit code of a command. Numbers from 64 on follow `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success, also if the reader of stdout is gone (`| head`).
    Ok = 0,
    Other = 1,
    /// Migrations are pending (`migrate --dry-run`).
    Pending = 3,
    /// Invalid command line options.
    Usage = 64,
    /// Invalid input, refused by the client or the server.
    Data = 65,
    /// What was asked for, or a file that was named.
    NotFound = 66,
    /// The server is unavailable or cannot be reached.
    Unavailable = 69,
    /// The server stopped because of a defect.
    Defect = 70,
    /// Conflict with stored events or an existing file.
    Conflict = 73,
    /// Overload; a later retry may succeed.
    TryLater = 75,
    /// Damaged data, or an incompatible server.
    Protocol = 76,
    Denied = 77,
    /// The server cannot start, or a check failed.
    Config = 78,
}

impl Exit {
    /// Exit code for a gRPC status code.
    pub fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::OutOfRange => Self::Data,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Self::Conflict,
            Code::ResourceExhausted => Self::TryLater,
            Code::Unavailable | Code::DeadlineExceeded => Self::Unavailable,
            Code::DataLoss | Code::Internal | Code::Unimplemented => Self::Protocol,
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied,
            Code::Cancelled | Code::Unknown => Self::Other,
        }
    }
}

/// Error of a command, for display. [`Failure::text`] escapes untrusted text.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Error message, without reason, field and hint.
    pub message: String,
    /// Reason in the server's `ErrorInfo`, UPPER_SNAKE_CASE.
    pub reason: Option<String>,
    /// Name of the invalid request field.
    pub field: Option<String>,
    /// Suggested action for the user.
    pub hint: Option<String>,
}

impl Failure {
    /// Without reason, field and hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), reason: None, field: None, hint: None }
    }

    /// Sets the suggested action.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Failed write to stdout. A closed pipe (`| head`) ends the command without an error message.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::Other, format!("cannot write the output: {error}")),
        }
    }

    /// A named file that cannot be read. `option` is as the user spells it.
    pub fn of_file(option: &str, file: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::Denied,
            io::ErrorKind::InvalidData => Exit::Data,
            _ => Exit::Usage,
        };
        Self::new(exit, format!("{option} {}: {error}", file.display()))
    }

    /// Error of a gRPC call, from the server or the connection.
    pub fn of_status(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let mut message = status.message().to_owned();
        // Only a status made by the client has a source; the status's own text ("transport error") says little.
        if let Some(source) = std::error::Error::source(status) {
            message = root_cause(source);
            if let Some((exit, hint)) = of_connection(&message) {
                return Self::new(exit, message).hint(hint);
            }
        }
        if message.is_empty() {
            message = format!("the server answered {:?}", status.code());
        }
        let field = info.as_ref().and_then(|info| info.metadata.get("field")).cloned();
        Self::of_answer(status.code(), message, info.map(|info| info.reason), field)
    }

    /// Error from the code, message, reason and field of the server's answer.
    pub fn of_answer(code: Code, message: String, reason: Option<String>, field: Option<String>) -> Self {
        let reason = reason.filter(|reason| !reason.is_empty());
        let hint = hint_for(reason.as_deref(), code).map(ToOwned::to_owned);
        // Also RESOURCE_EXHAUSTED, but a retry cannot succeed.
        let exit = if reason.as_deref() == Some(TOO_LARGE) { Exit::Data } else { Exit::of(code) };
        Self { exit, message, reason, field, hint }
    }

    /// Text for stderr: the message, then a line with reason, field and hint. Empty for [`Exit::Ok`].
    pub fn text(&self) -> String {
        if self.exit == Exit::Ok {
            return String::new();
        }
        let mut text = format!("{ERROR}error:{ERROR:#} {}", clean(&self.message));
        let details = [
            self.reason.as_deref().map(|reason| clean(reason).into_owned()),
            self.field.as_deref().map(|field| format!("field {}", clean(field))),
            self.hint.as_deref().map(|hint| format!("hint: {}", clean(hint))),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        if !details.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "\n       {DIM}{}{DIM:#}", details.join(" · "));
        }
        text
    }
}

/// Text of the innermost cause, the most specific error of the chain.
pub fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Exit code and suggested action for a connection that broke with this root cause; `None` if the cause says nothing about TLS.
/// By text, since HTTP/2 keeps only the text of the errors below.
pub fn of_connection(cause: &str) -> Option<(Exit, &'static str)> {
    const CAUSES: [(&str, Exit, &str); 7] = [
        (
            "UnknownIssuer",
            Exit::Unavailable,
            "--ca FILE or RUNLOG_CA names the authority of the server's certificate; by default the system's are trusted",
        ),
        (
            "invalid peer certificate",
            Exit::Unavailable,
            "the certificate of the server must be valid for the host of --server",
        ),
        ("CertificateRequired", Exit::Denied, "the server asks for a certificate of the client: --cert and --cert-key"),
        (
            "received fatal alert",
            Exit::Denied,
            "the server refused TLS with this client: is --cert of an authority it knows?",
        ),
        ("InvalidContentType", Exit::Unavailable, "no TLS is spoken there: a server without TLS has an http:// URL"),
        ("bytes remaining on stream", Exit::Unavailable, SPEAKS_TLS),
        ("frame with invalid size", Exit::Unavailable, SPEAKS_TLS),
    ];
    const SPEAKS_TLS: &str = "the connection was cut, or the server speaks TLS and has an https:// URL";
    CAUSES.into_iter().find(|(text, ..)| cause.contains(text)).map(|(_, exit, hint)| (exit, hint))
}

fn hint_for(reason: Option<&str>, code: Code) -> Option<&'static str> {
    Some(match (reason, code) {
        (Some("RUN_NOT_FOUND"), _) => "`runlog runs` lists the runs; `runlog tail --wait` waits for a run to begin",
        (Some("SEQ_CONFLICT"), _) => "`runlog list --run ID --cursor SEQ` shows what came since",
        (Some("RUN_STATUS_FINAL"), _) => "the server runs with --lifecycle strict",
        (Some("CURSOR_INVALID" | "CURSOR_BEYOND_END"), _) => {
            "without --cursor a list begins at its first event; `runlog tail` takes `--cursor start` and `--cursor latest`, too"
        }
        (Some(TOO_LARGE), _) => "the server's --max-request-bytes and --max-payload-bytes bound what it takes",
        (Some("OUTCOME_UNKNOWN"), _) => "send it again with the same --event-id: it is stored once",
        (Some("RATE_LIMITED"), _) => {
            "the limits of a key are options of the server: --key-requests-per-second and others"
        }
        (Some("OVERLOADED"), _) => "send it again in a moment; the same --event-id makes that safe",
        (Some("API_KEY_MISSING"), _) => "--key FILE or RUNLOG_KEY gives a key; `runlog keys create` makes one",
        (Some("API_KEY_INVALID" | "API_KEY_EXPIRED" | "API_KEY_REVOKED"), _) => {
            "`runlog keys list` shows which keys work; --key FILE or RUNLOG_KEY gives another one"
        }
        (Some("SCOPE_MISSING"), _) => "`runlog keys create --scope …` makes a key that may do this",
        (None, Code::Unimplemented) => "is --server a runlog server of this version?",
        (_, Code::DeadlineExceeded) => "a longer --timeout gives the server more time",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn every_kind_of_error_has_its_documented_exit_code() {
        let expected = [
            (Code::Ok, 0),
            (Code::Unknown, 1),
            (Code::Cancelled, 1),
            (Code::InvalidArgument, 65),
            (Code::OutOfRange, 65),
            (Code::NotFound, 66),
            (Code::Unavailable, 69),
            (Code::DeadlineExceeded, 69),
            (Code::AlreadyExists, 73),
            (Code::Aborted, 73),
            (Code::FailedPrecondition, 73),
            (Code::ResourceExhausted, 75),
            (Code::DataLoss, 76),
            (Code::Internal, 76),
            (Code::Unimplemented, 76),
            (Code::PermissionDenied, 77),
            (Code::Unauthenticated, 77),
        ];
        for (code, exit) in expected {
            assert_eq!(Exit::of(code) as u8, exit, "{code:?}");
            assert!(HELP.contains(&format!("\n  {exit:>2}  ")), "{exit} is documented");
        }
        assert!(HELP.contains("\n   3  ") && HELP.contains("\n  64  ") && HELP.contains("\n  78  "));
    }

    #[test]
    fn an_error_shows_message_reason_field_and_hint() {
        let details = ErrorDetails::with_error_info("CURSOR_INVALID", "runlog", [("field".into(), "cursor".into())]);
        let status = Status::with_error_details(Code::InvalidArgument, "cursor \"\u{1b}x\": bad", details);
        let failure = Failure::of_status(&status);
        assert_eq!(failure.exit, Exit::Data);
        let text = anstream::adapter::strip_str(&failure.text()).to_string();
        assert!(text.starts_with("error: cursor \"\\u{1b}x\": bad\n"), "{text}");
        assert!(text.contains("CURSOR_INVALID · field cursor · hint: without --cursor"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_request_that_is_too_large_is_bad_input_although_its_code_says_try_later() {
        let failure = Failure::of_answer(Code::ResourceExhausted, "too large".into(), Some(TOO_LARGE.into()), None);
        assert_eq!(failure.exit, Exit::Data);
    }

    #[test]
    fn a_connection_that_broke_by_tls_has_an_exit_code_and_a_hint() {
        use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
        for (cause, exit, hint) in [
            (Error::from(CertificateError::UnknownIssuer), Exit::Unavailable, "--ca"),
            (CertificateError::NotValidForName.into(), Exit::Unavailable, "--server"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), Exit::Denied, "--cert-key"),
            (Error::AlertReceived(AlertDescription::UnknownCA), Exit::Denied, "--cert"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Exit::Unavailable, "http://"),
        ] {
            let found = of_connection(&cause.to_string()).unwrap();
            assert!(found.0 == exit && found.1.contains(hint), "{cause}: {found:?}");
        }
        assert!(of_connection("connection refused").is_none());
    }

    #[test]
    fn a_file_that_is_not_there_is_not_found_whatever_option_names_it() {
        let exit = |kind: io::ErrorKind| Failure::of_file("--key", Path::new("k"), &kind.into()).exit;
        assert_eq!(exit(io::ErrorKind::NotFound), Exit::NotFound);
        assert_eq!(exit(io::ErrorKind::PermissionDenied), Exit::Denied);
        assert_eq!(exit(io::ErrorKind::IsADirectory), Exit::Usage);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let failure = Failure::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.text().as_str()), (Exit::Ok, ""));
        assert_eq!(Failure::output(io::ErrorKind::StorageFull.into()).exit, Exit::Other);
    }
}
