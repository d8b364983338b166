//! The `runlog` program. All of it lives in the library; see `runlog::cli`.

use std::process::ExitCode;

/// The write path makes many small objects that live for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _scenario = runlog::store::failpoints::scenario();
    runlog::cli::main()
}
