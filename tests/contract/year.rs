//! A store that retention works on for a year stays at its size. The days are those of the events; a day takes milliseconds.

use runlog::store::SharedStore;

use crate::fixture::*;
use crate::retention::pass;
use crate::sqlite_retention::{at, keeping, record};

const DAY: i64 = 86_400;

/// Days after which the size is measured.
const MEASURED: [i64; 3] = [30, 120, 365];

/// A fixture that says how much disk its data take.
trait Measured: Fixture {
    /// What the database server does by itself in production.
    async fn vacuum(&self);
    /// Bytes of the tables with their indexes, or of the file; without a log of changes. The store is closed.
    async fn bytes(&self) -> u64;
}

impl Measured for SqliteFixture {
    async fn vacuum(&self) {}

    async fn bytes(&self) -> u64 {
        self.options(Tuning::default()).path.metadata().unwrap().len()
    }
}

impl Measured for PostgresFixture {
    async fn vacuum(&self) {
        self.0.execute("VACUUM events, runs, run_documents, run_retention, feed_retention").await;
    }

    async fn bytes(&self) -> u64 {
        const BYTES: &str = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
            WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
        let mut connection = self.0.connect().await;
        let bytes: i64 = sqlx::query_scalar(BYTES).fetch_one(&mut connection).await.unwrap();
        bytes.unsigned_abs()
    }
}

/// The events of a day in this many appends, one run a day.
async fn publish(store: &SharedStore, day: i64, appends: usize, events: usize) {
    for append in 0..appends {
        let second = DAY * day + DAY * i64::try_from(append).unwrap() / i64::try_from(appends).unwrap();
        let of_append = (0..events).map(|n| {
            let text = "x".repeat(100 + (append * events + n) * 397 % 1_000);
            with_id(&format!("{day}-{append}-{n}"), event(&text))
        });
        record(store, &format!("day {day}"), second, of_append.collect()).await;
    }
}

/// Sizes after the days of [`MEASURED`], of a store that keeps one day.
async fn sizes(fixture: &impl Measured, appends: usize, events: usize) -> Vec<u64> {
    let mut store = fixture.opened().await;
    let mut sizes = Vec::new();
    for day in 0..365 {
        publish(&store, day, appends, events).await;
        pass(&store, &keeping(DAY.unsigned_abs()), at(DAY * (day + 1))).await;
        fixture.vacuum().await;
        if MEASURED.contains(&(day + 1)) {
            store.close().await;
            sizes.push(fixture.bytes().await);
            println!("{appends} times {events} events a day: {} bytes after {} days", sizes[sizes.len() - 1], day + 1);
            store = fixture.opened().await;
        }
    }
    let kept = all_kept(&store).await;
    store.close().await;
    assert!((1..=2 * appends * events).contains(&kept), "{kept} events are kept");
    sizes
}

async fn all_kept(store: &SharedStore) -> usize {
    use runlog::domain::Scope;
    let extent = store.extent(&Scope::Feed).await.unwrap();
    usize::try_from(extent.end.last + 1 - extent.first).unwrap()
}

/// The rows of runs stay, one a day.
fn assert_same(sizes: &[u64]) {
    assert!(sizes[2] < sizes[0] * 5 / 4 && sizes[2] < sizes[1] * 5 / 4, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_year_of_which_a_day_is_kept_takes_no_more_than_a_month_on_sqlite() {
    assert_same(&sizes(&SqliteFixture::here(), 4, 60).await);
}

/// With a VACUUM after each day: autovacuum comes when a fifth of the rows are dead, so more often.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_year_of_which_a_day_is_kept_takes_no_more_than_a_month_on_postgres() {
    let Some(fixture) = PostgresFixture::new().await else { return };
    assert_same(&sizes(&fixture, 4, 60).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "8,760,000 events take minutes in a release build"]
async fn a_year_of_1_000_events_an_hour_takes_no_more_than_a_month_on_sqlite() {
    assert_same(&sizes(&SqliteFixture::here(), 24, 1_000).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "8,760,000 events take minutes in a release build"]
async fn a_year_of_1_000_events_an_hour_takes_no_more_than_a_month_on_postgres() {
    let Some(fixture) = PostgresFixture::new().await else { return };
    assert_same(&sizes(&fixture, 24, 1_000).await);
}
