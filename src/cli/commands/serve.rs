//! `runlog serve`: sets up logging and signal handlers, then runs the server.

use std::io;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::demo;
use crate::cli::outcome::{Exit, Failure};
use crate::config::{LogFormat, ServeOptions};
use crate::server;
use crate::server::{Server, StartError};

/// The options of `runlog serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Play runs into the server and show them live: success, failure, a question to a human, a retry, a limit. They are
    /// stored in --data like any others. Not with --tls-cert: the demo is a client without TLS
    #[arg(long, conflicts_with = "tls_cert")]
    demo: bool,
    #[command(flatten)]
    options: ServeOptions,
}

/// Serves until SIGTERM or SIGINT, then drains.
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    let options = args.options;
    init_log(&options)?;
    options.validate().map_err(cannot_start)?;
    let stop = CancellationToken::new();
    cancel_on_signal(stop.clone())?;
    server::raise_open_files(&options);
    let server = Server::bind(&options).await.map_err(cannot_start)?;
    let address = server.local_addr();
    let demo = args.demo.then(|| tokio::spawn(demo::run(address, options.has_console(), stop.clone())));
    let served = server.run(stop.clone()).await.map_err(|error| {
        let exit = if matches!(error, StartError::StoreDefect) { Exit::Defect } else { Exit::Other };
        Failure::new(exit, error.to_string())
    });
    stop.cancel();
    if let Some(demo) = demo {
        // `stop` ends the demo; a panic of the demo does not fail the server.
        let _ = demo.await;
    }
    served
}

fn cannot_start(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, problem.to_string())
}

/// Logs warnings to stderr, for commands that open a store in this process.
pub fn log_warnings() {
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(io::stderr);
    // Fails only if a subscriber is installed already; a command works without the log.
    let _ = log.with_ansi(colours).try_init();
}

/// Log filter of the `--log` option. Rustls logs what peers send, a line for each attempt: off, unless the option names it.
pub fn log_filter(options: &ServeOptions) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(format!("rustls=off,{}", options.log)).map_err(|error| {
        cannot_start(format!("--log {:?}: {error}", options.log)).hint("such as info or info,runlog=debug")
    })
}

fn init_log(options: &ServeOptions) -> Result<(), Failure> {
    let filter = log_filter(options)?;
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match options.log_format {
        LogFormat::Text => log.with_ansi(colours).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    installed.map_err(cannot_start)
}

/// The first SIGTERM or SIGINT starts the drain, the second exits at once.
fn cancel_on_signal(stop: CancellationToken) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            let (name, code) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 128 + 15),
                _ = interrupt.recv() => ("SIGINT", 128 + 2),
            };
            if stop.is_cancelled() {
                tracing::warn!("{name} again: exiting without waiting for the drain");
                std::process::exit(code);
            }
            tracing::info!("{name}: draining; once more exits at once");
            stop.cancel();
        }
    });
    Ok(())
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| cannot_start(format!("cannot listen for signals: {error}")))
}
