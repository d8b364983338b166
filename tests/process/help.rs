//! The texts of `--help`, as snapshots. `INSTA_UPDATE=always` writes them; review the difference.

use crate::harness::{Ran, program, within};

/// The help of a command on a terminal of 100 columns.
async fn help(command: &[&str]) -> String {
    let mut runlog = program();
    runlog.args(command).arg("--help").env("COLUMNS", "100");
    within("the help", Ran::of(runlog)).await.succeeds()
}

fn compare(name: &str, text: &str) {
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, text);
    });
}

#[tokio::test]
async fn every_command_explains_itself_and_its_options() {
    let overview = help(&[]).await;
    compare("help", &overview);
    let (_, commands) = overview.split_once("Commands:\n").unwrap();
    let commands = commands.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|command| *command != "help").collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands {
        compare(&format!("help_{command}"), &help(&[command]).await);
    }
}
