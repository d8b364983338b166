//! Faults under load; all promises hold afterwards.

use crate::cluster::{Cluster, Database, Stop};
use crate::proxy::{Harm, Mode, Proxy};
use crate::replica::Replica;
use crate::world::World;

/// Events that must be acknowledged before and after each fault.
const SOME: usize = 150;

async fn replicas(url: &str, count: usize) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for n in 0..count {
        // The third replica only polls.
        replicas.push(Replica::start(url, if n == 2 { &["--notify=off", "--poll-ms=50"] } else { &[] }).await);
    }
    replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_are_killed_and_restarted() {
    let Some(database) = Database::create().await else { return };
    let replicas = replicas(&database.url(), 3).await;
    let (world, busy) = World::begin(database, replicas);
    world.more(SOME).await;
    for round in 0..6 {
        let victim = &world.replicas[round % 3];
        victim.kill().await;
        world.more(SOME).await;
        victim.restart().await;
        world.more(SOME).await;
    }
    busy.check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_to_the_database_are_ended_by_an_administrator() {
    let Some(database) = Database::create().await else { return };
    let replicas = replicas(&database.url(), 2).await;
    let (world, busy) = World::begin(database, replicas);
    for whom in ["query LIKE 'LISTEN%'", "query LIKE 'LISTEN%'", "true", "query LIKE '%events%'", "true"] {
        world.more(SOME).await;
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND {whom}"
        );
        world.database.execute(&end).await;
    }
    world.more(SOME).await;
    busy.check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgresql_is_restarted_in_every_way() {
    let Some(cluster) = Cluster::start() else { return };
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    let Some(database) = cluster.create_database().await else { return };
    let replicas = replicas(&database.url(), 2).await;
    let (world, busy) = World::begin(database, replicas);
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill, Stop::Kill] {
        world.more(SOME).await;
        tokio::task::spawn_blocking(move || {
            cluster.stop(how);
            cluster.resume();
        })
        .await
        .unwrap();
    }
    world.more(SOME).await;
    busy.check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_network_cuts_delays_and_half_closes() {
    let Some(database) = Database::create().await else { return };
    let proxy = Proxy::start(database.cluster().port()).await;
    let through = database.tcp_url("postgres", proxy.port);
    let replicas = vec![Replica::start(&through, &[]).await, Replica::start(&database.url(), &[]).await];
    let (world, busy) = World::begin(database, replicas);
    for harm in [Harm::Cut, Harm::CloseToServer, Harm::CloseToReplica, Harm::Cut] {
        world.more(SOME).await;
        proxy.harm(harm);
        world.more(SOME).await;
        proxy.set(Mode::Slow);
        world.more(SOME / 3).await;
        proxy.harm(harm);
        proxy.set(Mode::Pass);
    }
    // The proxy stalls, for longer than the server keeps the locks of the replica behind the proxy. Every other retry
    // of a publisher goes to that replica and waits.
    proxy.set(Mode::Stall);
    world.more(SOME / 2).await;
    proxy.set(Mode::Pass);
    world.more(SOME).await;
    busy.check(&world).await;
}
