//! Promise 9 for what goes away: a reader that left leaves nothing behind.

use tokio::task::JoinSet;

use crate::client::{self, publish_one};
use crate::harness::{Data, Server, eventually};

const CYCLES: usize = 2_000;
/// As many as may subscribe at a time: a place that is not given back is missed at once.
const PLACES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_readers_that_came_and_went_leave_no_file_and_no_place_behind() {
    let data = Data::new();
    // One connection for readers, so that what the server itself holds open does not change.
    let options = ["--max-subscriptions", &PLACES.to_string(), "--read-connections", "1"];
    let server = Server::with(&data.file(), &options).await;
    let mut events = server.events().await;
    for run in 0..10 {
        publish_one(&mut events, &format!("r{run}"), "step", "{}").await;
    }
    // The database's own files are opened by the first who reads.
    client::list(&mut events, "r0").await;
    let before = server.open_files();
    let url = server.url();
    let mut working = JoinSet::new();
    // Half as many at a time as there are places, since the server hears of a drop a moment later.
    for worker in 0..PLACES / 4 {
        let (url, mut shared) = (url.clone(), events.clone());
        working.spawn(async move {
            for cycle in 0..CYCLES / (PLACES / 4) {
                let request = match cycle % 3 {
                    0 => client::follow_all(""),
                    1 => client::follow(&format!("r{}", cycle % 10)),
                    _ => runlog::pb::SubscribeRequest { wait_for_run: true, ..client::follow(&format!("w{worker}")) },
                };
                // Some leave their stream, some their connection; some before the first frame, some after it.
                let mut own = match cycle % 2 {
                    0 => client::Events::connect(url.clone()).await.unwrap(),
                    _ => shared.clone(),
                };
                let mut frames = loop {
                    match own.subscribe(request.clone()).await {
                        Ok(frames) => break frames.into_inner(),
                        Err(status) => assert_eq!(client::refusal(&status).1, "OVERLOADED"),
                    }
                };
                if cycle % 5 > 0 {
                    client::frame(&mut frames).await.unwrap();
                }
                if cycle % 50 == 0 {
                    publish_one(&mut shared, &format!("r{}", cycle % 10), "step", "{}").await;
                }
            }
        });
    }
    working.join_all().await;
    // SQLite keeps the file of a connection that it closed for the next one that it opens.
    const SPARE_FILES: usize = 2;
    eventually("the last file of a reader that left", async || server.open_files() <= before + SPARE_FILES).await;
    println!("{} files after {before}", server.open_files());
    // All places are free again: they can be taken at the same time.
    let mut taken = Vec::new();
    eventually("a place for each", async || {
        if let Ok(frames) = events.clone().subscribe(client::follow("r0")).await {
            taken.push(frames);
        }
        taken.len() == PLACES
    })
    .await;
    let refused = events.subscribe(client::follow("r0")).await.unwrap_err();
    assert_eq!(client::refusal(&refused).1, "OVERLOADED");
}
