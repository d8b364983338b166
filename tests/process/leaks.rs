//! Promise 9 for departed readers: all resources are released.

use tokio::task::JoinSet;

use crate::client::{self, publish_one};
use crate::harness::{Data, Server, eventually};

const CYCLES: usize = 2_000;
/// The limit of subscriptions, so that a subscription that is not released shows at once.
const PLACES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_readers_that_came_and_went_leave_no_file_and_no_place_behind() {
    let data = Data::new();
    // One read connection, so that the server's own open files stay constant.
    let options = ["--max-subscriptions", &PLACES.to_string(), "--read-connections", "1"];
    let server = Server::with(&data.file(), &options).await;
    let mut events = server.events().await;
    for run in 0..10 {
        publish_one(&mut events, &format!("r{run}"), "step", "{}").await;
    }
    // The first reader opens the database's own files.
    client::list(&mut events, "r0").await;
    let before = server.open_files();
    let url = server.url();
    let mut working = JoinSet::new();
    // Half of the limit at a time, since the server notices a drop with a delay.
    for worker in 0..PLACES / 4 {
        let (url, mut shared) = (url.clone(), events.clone());
        working.spawn(async move {
            for cycle in 0..CYCLES / (PLACES / 4) {
                let request = match cycle % 3 {
                    0 => client::follow_all(""),
                    1 => client::follow(&format!("r{}", cycle % 10)),
                    _ => runlog::pb::SubscribeRequest { wait_for_run: true, ..client::follow(&format!("w{worker}")) },
                };
                // Some drop their stream, some their connection; some before the first frame, some afterwards.
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
    // SQLite keeps the file of a closed connection for the next open.
    const SPARE_FILES: usize = 2;
    eventually("the last file of a reader that left", async || server.open_files() <= before + SPARE_FILES).await;
    println!("{} files after {before}", server.open_files());
    // All subscriptions are free again: the full limit can be taken at the same time.
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
