use super::super::line::{Tally, VERSION};
use super::*;

/// An export of `events` events of one run; `text` is the payload of the last event.
fn export(events: u64, text: &str) -> String {
    let mut lines = format!("{{\"runlog_export\":{VERSION},\"feed\":\"00000001\"}}\n");
    let mut tally = Tally::default();
    for seq in 1..=events {
        let text = if seq == events { text } else { "" };
        let line = format!(
            "{{\"run_id\":\"r\",\"seq\":{seq},\"event_id\":\"e{seq}\",\"type\":\"step\",\"origin\":\"SYSTEM\",\
             \"occurred_at\":\"2026-01-01T00:00:00Z\",\"recorded_at\":\"2026-01-01T00:00:00Z\",\"payload\":\"{text}\"}}"
        );
        tally.add(line.as_bytes(), seq == 1);
        lines += &(line + "\n");
    }
    lines + &serde_json::to_string(&tally.trailer()).unwrap() + "\n"
}

#[tokio::test]
async fn a_file_that_changes_between_its_check_and_its_import_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let whole = export(3, "a");
    let cut = |text: &str, by: usize| text[..text.len() - by].to_owned();
    let one_less = export(2, "");
    for (number, (before, after, is_partial)) in [
        // Another payload with a matching trailer, and with the old trailer; fewer events; cut off; completed; emptied.
        (whole.clone(), export(3, "b"), false),
        (whole.clone(), whole.replace("\"a\"", "\"b\""), false),
        (whole.clone(), one_less, false),
        (whole.clone(), cut(&whole, 150), true),
        (cut(&whole, 150), whole.clone(), true),
        (whole.clone(), String::new(), false),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&file, before).unwrap();
        let mut input = Input::open(&file).unwrap();
        let checked = check(&mut input, is_partial).await.unwrap();
        std::fs::write(&file, after).unwrap();
        let data = directory.path().join(format!("{number}.db"));
        let options = StoreOptions { data, ..crate::config::ServeOptions::default().store };
        let mut importer = server::importer(&options, &ProjectId::default()).await.unwrap();
        let failure = store(&mut importer, &mut input, &checked).await.unwrap_err();
        importer.close().await;
        assert_eq!(failure.exit, Exit::Data);
        assert!(failure.message.contains("changed while it was imported"), "{number}: {}", failure.message);
    }
    // An unchanged file is imported.
    std::fs::write(&file, &whole).unwrap();
    let mut input = Input::open(&file).unwrap();
    let checked = check(&mut input, false).await.unwrap();
    let options =
        StoreOptions { data: directory.path().join("same.db"), ..crate::config::ServeOptions::default().store };
    let mut importer = server::importer(&options, &ProjectId::default()).await.unwrap();
    store(&mut importer, &mut input, &checked).await.unwrap();
    assert_eq!(importer.done(), Imports { stored: 3, present: 0, runs: 1 });
    importer.close().await;
}
