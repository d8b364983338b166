//! Keys of callers.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use runlog::domain::access::{Credential, Key, Secret};
use runlog::domain::{Error, KeyId, KeyScope, ProjectId};
use runlog::store::SharedStore;

use crate::fixture::*;

/// A time, in seconds after some begin.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A key whose id and secret follow from a number.
pub fn key(number: u8) -> Key {
    let credential = Credential::of_random(&[number; 36], at(i64::from(number)));
    Key {
        digest: credential.digest(),
        key_id: credential.key_id,
        project: ProjectId::default(),
        name: format!("key \"{number}\" é🦀"),
        scopes: [KeyScope::EventsRead, KeyScope::Admin].into_iter().collect(),
        created_at: at(i64::from(number)),
        expires_at: number.is_multiple_of(2).then(|| at(1_000)),
        revoked_at: None,
        last_used_at: None,
    }
}

async fn listed(store: &SharedStore, after: Option<&KeyId>, limit: usize) -> Vec<Key> {
    store.keys().list(None, after, limit).await.unwrap().keys
}

async fn stored(store: &SharedStore, key_id: &KeyId) -> Key {
    store.keys().find(std::slice::from_ref(key_id)).await.unwrap().pop().expect("the key is stored")
}

pub async fn a_key_is_read_back_as_it_was_created_and_survives_reopen(fixture: impl Fixture) {
    let store = fixture.opened().await;
    assert!(!store.keys().any().await.unwrap());
    let keys: Vec<Key> = (1..=5).map(key).collect();
    for key in &keys {
        store.keys().create(key).await.unwrap();
    }
    store.close().await;
    let store = fixture.opened().await;
    assert!(store.keys().any().await.unwrap());
    let key_ids: Vec<KeyId> = keys.iter().map(|key| key.key_id.clone()).chain([key(9).key_id]).collect();
    assert_eq!(store.keys().find(&key_ids).await.unwrap(), keys, "unknown ids are left out");
    assert_eq!(listed(&store, None, 2).await, keys[..2]);
    assert_eq!(listed(&store, Some(&keys[1].key_id), 10).await, keys[2..]);
    assert_eq!(listed(&store, Some(&keys[4].key_id), 10).await, []);
    store.close().await;
}

pub async fn a_creation_may_be_repeated_and_another_secret_under_its_id_is_refused(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.keys().create(&key(1)).await.unwrap();
    store.keys().create(&key(1)).await.unwrap();
    let other = Key { digest: key(2).digest, ..key(1) };
    assert!(matches!(store.keys().create(&other).await, Err(Error::KeyExists { .. })));
    assert_eq!(listed(&store, None, 10).await, [key(1)]);
    store.close().await;
}

pub async fn a_revocation_stays_and_the_first_time_counts(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let key = key(1);
    store.keys().create(&key).await.unwrap();
    let revoked = Key { revoked_at: Some(at(10)), ..key.clone() };
    assert_eq!(store.keys().revoke(&key.key_id, at(10)).await.unwrap(), revoked);
    assert_eq!(store.keys().revoke(&key.key_id, at(20)).await.unwrap(), revoked);
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(stored(&store, &key.key_id).await, revoked);
    assert!(store.keys().any().await.unwrap(), "a store that had a key never serves callers without one");
    let unknown = KeyId::parse("key_unknown").unwrap();
    assert!(matches!(store.keys().revoke(&unknown, at(0)).await, Err(Error::KeyNotFound { .. })));
    store.close().await;
}

pub async fn a_rotation_ends_the_old_key_at_its_time_or_before(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let (open, expiring, new) = (key(1), key(2), key(3));
    store.keys().create(&open).await.unwrap();
    store.keys().create(&expiring).await.unwrap();
    store.keys().rotate(&open.key_id, at(500), &new, at(5)).await.unwrap();
    assert_eq!(stored(&store, &open.key_id).await.expires_at, Some(at(500)));
    assert_eq!(stored(&store, &new.key_id).await, new);
    store.keys().rotate(&expiring.key_id, at(5_000), &key(4), at(5)).await.unwrap();
    assert_eq!(stored(&store, &expiring.key_id).await.expires_at, Some(at(1_000)), "it ends when it would have");
    for ended in [&open.key_id, &expiring.key_id] {
        let refused = store.keys().rotate(ended, at(9_000), &key(5), at(2_000)).await;
        assert!(matches!(refused, Err(Error::KeyEnded { .. })), "{refused:?}");
    }
    store.keys().revoke(&new.key_id, at(6)).await.unwrap();
    let refused = store.keys().rotate(&new.key_id, at(9_000), &key(5), at(6)).await;
    assert!(matches!(refused, Err(Error::KeyEnded { .. })), "{refused:?}");
    let unknown = KeyId::parse("key_unknown").unwrap();
    let refused = store.keys().rotate(&unknown, at(9_000), &key(5), at(6)).await;
    assert!(matches!(refused, Err(Error::KeyNotFound { .. })), "{refused:?}");
    assert_eq!(listed(&store, None, 10).await.len(), 4, "a refused rotation stores nothing");
    store.close().await;
}

pub async fn a_use_is_recorded_and_changes_nothing_else(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let (one, other) = (key(1), key(2));
    store.keys().create(&one).await.unwrap();
    store.keys().create(&other).await.unwrap();
    let unknown = KeyId::parse("key_unknown").unwrap();
    store.keys().used(&[(one.key_id.clone(), at(7)), (unknown, at(7))]).await.unwrap();
    assert_eq!(stored(&store, &one.key_id).await, Key { last_used_at: Some(at(7)), ..one });
    assert_eq!(stored(&store, &other.key_id).await, other);
    store.close().await;
}

pub async fn keys_and_events_are_written_at_once(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let appends = async {
        for number in 0..200 {
            let appended = store.append(append("r", vec![event(&format!("{number}"))])).await.unwrap();
            assert_eq!(appended.last_seq, number + 1);
        }
    };
    let writes = async {
        for number in 1..=40 {
            store.keys().create(&key(number)).await.unwrap();
            let until = at(0).checked_add(SignedDuration::from_secs(9_000)).unwrap();
            store.keys().rotate(&key(number).key_id, until, &key(100 + number), at(0)).await.unwrap();
        }
    };
    tokio::join!(appends, writes);
    assert_eq!(listed(&store, None, 1_000).await.len(), 80);
    store.close().await;
}

pub async fn a_secret_is_made_once_and_survives_reopen(fixture: impl Fixture) {
    let store = fixture.opened().await;
    assert!(store.keys().secret("s").await.unwrap().is_none());
    for byte in [1, 2] {
        store.keys().create_secret("s", &Secret([byte; 32]), at(i64::from(byte))).await.unwrap();
        assert_eq!(store.keys().secret("s").await.unwrap().unwrap().0, [1; 32], "the first one stays");
    }
    store.keys().create_secret("other", &Secret([3; 32]), at(3)).await.unwrap();
    assert!(!store.keys().any().await.unwrap(), "a secret is no key");
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(store.keys().secret("s").await.unwrap().unwrap().0, [1; 32]);
    assert_eq!(store.keys().secret("other").await.unwrap().unwrap().0, [3; 32]);
    assert!(store.keys().secret("S").await.unwrap().is_none());
    store.close().await;
}

pub async fn of_many_secrets_made_at_once_one_is_everybodys(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let made = join_all((0..20).map(async |byte| {
        store.keys().create_secret("s", &Secret([byte; 32]), at(0)).await.unwrap();
        store.keys().secret("s").await.unwrap().unwrap().0
    }))
    .await;
    assert!(made.iter().all(|secret| *secret == made[0]), "{made:?}");
    store.close().await;
}
