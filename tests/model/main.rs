//! The model test: random interleavings of publishing, reading, disconnecting, resuming, losing notifications, removing events
//! and restarting, driven through the service over a real store, against promises 2 to 6 of `proto/README.md`.
//!
//! | module | content |
//! |---|---|
//! | `ops` | the operations and their generators |
//! | `oracle`, `content` | the expected log as plain vectors; what its events say |
//! | `faults`, `in_doubt` | a store that loses answers, and the possible outcomes of such a publish |
//! | `server` | the service over a store, with a hub whose notifications may be lost |
//! | `world`, `endings` | server, readers and oracle, and the effect of each operation on all of them |
//! | `reader`, `following` | a subscription and its expected frames; what readers do |
//! | `removal_specs`, `removal` | erasure, retention, compaction and holds: their generators and effects |
//! | `kept` | what the store keeps after a removal, against the fate of each event |
//! | `listing` | pages, and the order of the all-runs feed |
//! | `stores` | the stores under test |
//!
//! `PROPTEST_CASES` raises the number of cases. Failed cases are kept in `regressions.txt` and run first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it means by failing")]

#[path = "../support/cluster.rs"]
mod cluster;
mod content;
mod endings;
mod faults;
mod following;
mod in_doubt;
mod kept;
mod listing;
mod ops;
mod oracle;
#[path = "../support/proxy.rs"]
mod proxy;
mod reader;
mod removal;
mod removal_specs;
mod server;
mod stores;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Under a minute for each store in a dev build on two cores.
fn config<B: stores::Backend>() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { B::CASES },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model/regressions.txt"))),
        max_shrink_time: 120_000,
        ..default
    }
}

/// Makes a test for each store, with its [`stores::Backend`].
macro_rules! the_promises_hold {
    ($($name:ident: $backend:ty),+ $(,)?) => {
        $(proptest! {
            #![proptest_config(config::<$backend>())]
            #[test]
            fn $name((setup, ops) in ops::case()) {
                if <$backend as stores::Backend>::is_here() {
                    world::play::<$backend>(setup, ops);
                }
            }
        })+
    };
}

the_promises_hold! {
    whatever_happens_in_whatever_order_the_promises_hold_on_sqlite: stores::SqliteFiles,
    whatever_happens_in_whatever_order_the_promises_hold_on_postgresql: stores::PostgresSchema,
}
