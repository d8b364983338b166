//! The `runlog` program. The code lives in the library; see `runlog::cli`.

use std::process::ExitCode;

/// mimalloc, because the write path allocates many small, short-lived objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _scenario = runlog::store::failpoints::scenario();
    runlog::cli::main()
}
