//! The life of a key, and refusals of bad requests.

use runlog::domain::KeyScope;
use runlog::pb;
use tonic::Code;

use crate::harness::{ADMIN, create, eventually, publish, reason, with_keys};

#[tokio::test]
async fn a_key_is_created_listed_used_rotated_and_revoked() {
    let mut server = with_keys().await;
    let (key_id, key) = server.key(&[KeyScope::EventsPublish]).await;
    assert!(key.starts_with(&format!("{key_id}:")));
    server.events(&key).await.publish(publish("r", "step")).await.unwrap();
    let rotate = pb::RotateKeyRequest { key_id: key_id.clone(), ..Default::default() };
    let rotated = server.keys(ADMIN).await.rotate_key(rotate).await.unwrap().into_inner();
    let (new, old) = (rotated.key.unwrap(), rotated.replaced.unwrap());
    assert_eq!((old.key_id.as_str(), new.scopes.as_slice()), (key_id.as_str(), old.scopes.as_slice()));
    assert!(old.expires_at.is_some() && new.expires_at.is_none());
    for key in [&key, &rotated.secret_key] {
        server.events(key).await.publish(publish("r", "step")).await.unwrap();
    }
    let at_once = pb::RotateKeyRequest {
        key_id: new.key_id.clone(),
        overlap: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    server.keys(ADMIN).await.rotate_key(at_once).await.unwrap();
    eventually("the end of the rotated key", async || {
        let refused = server.events(&rotated.secret_key).await.publish(publish("r", "step")).await;
        refused.is_err_and(|status| reason(&status) == "API_KEY_EXPIRED")
    })
    .await;
    // The last uses are written when the server stops, at the latest.
    server.restart().await;
    let listed = server.keys(ADMIN).await.list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.keys.len(), 4);
    let listed: Vec<_> = listed.keys.iter().filter(|listed| listed.key_id == key_id).collect();
    assert!(listed[0].last_used_at.is_some(), "{listed:?}");
    assert!(!format!("{listed:?}").contains(key.split_once(':').unwrap().1), "a secret is never shown again");
}

#[tokio::test]
async fn keys_are_listed_page_by_page() {
    let server = with_keys().await;
    for _ in 0..4 {
        server.key(&[KeyScope::EventsRead]).await;
    }
    let mut keys = server.keys(ADMIN).await;
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = keys.list_keys(pb::ListKeysRequest { page_size: 2, cursor }).await.unwrap().into_inner();
        seen.extend(page.keys.into_iter().map(|key| key.key_id));
        if !page.has_more {
            break;
        }
        cursor = page.next_cursor;
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted());
    let refused = keys.list_keys(pb::ListKeysRequest { page_size: 1, cursor: "7".to_owned() }).await.unwrap_err();
    assert_eq!(reason(&refused), "CURSOR_INVALID");
}

#[tokio::test]
async fn bad_requests_are_refused_by_the_name_of_the_field() {
    let server = with_keys().await;
    let mut keys = server.keys(ADMIN).await;
    let good = create(&[KeyScope::EventsRead]);
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (request, field) in [
        (pb::CreateKeyRequest { name: String::new(), ..good.clone() }, "name"),
        (pb::CreateKeyRequest { name: "a\nb".to_owned(), ..good.clone() }, "name"),
        (pb::CreateKeyRequest { scopes: Vec::new(), ..good.clone() }, "scopes"),
        (pb::CreateKeyRequest { scopes: vec!["admin".into(), "all".into()], ..good.clone() }, "scopes[1]"),
        (pb::CreateKeyRequest { project: "A b".to_owned(), ..good.clone() }, "project"),
        (pb::CreateKeyRequest { expires_in: duration(0), ..good.clone() }, "expires_in"),
        (pb::CreateKeyRequest { expires_in: duration(-1), ..good.clone() }, "expires_in"),
        (pb::CreateKeyRequest { expires_in: duration(i64::MAX), ..good.clone() }, "expires_in"),
    ] {
        let refused = keys.create_key(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let info = tonic_types::StatusExt::get_error_details(&refused).error_info().unwrap().clone();
        assert_eq!(info.metadata["field"], field, "{refused}");
    }
    for key_id in ["", "admin", "key_"] {
        let request = pb::RevokeKeyRequest { key_id: key_id.to_owned() };
        assert_eq!(reason(&keys.revoke_key(request).await.unwrap_err()), "INVALID_FIELD", "{key_id:?}");
    }
    let unknown = pb::RevokeKeyRequest { key_id: "key_unknown".to_owned() };
    assert_eq!(reason(&keys.revoke_key(unknown).await.unwrap_err()), "KEY_NOT_FOUND");
    let overlap =
        pb::RotateKeyRequest { key_id: "key_admin".to_owned(), overlap: duration(31 * 86_400), ..Default::default() };
    assert_eq!(reason(&keys.rotate_key(overlap).await.unwrap_err()), "INVALID_FIELD");
    let expiring = pb::CreateKeyRequest { expires_in: duration(600), ..create(&[KeyScope::EventsRead]) };
    let key_id = keys.create_key(expiring).await.unwrap().into_inner().key.unwrap().key_id;
    let rotate = pb::RotateKeyRequest { key_id, ..Default::default() };
    assert_eq!(
        reason(&keys.rotate_key(rotate.clone()).await.unwrap_err()),
        "INVALID_FIELD",
        "its expiry is not guessed"
    );
    keys.rotate_key(pb::RotateKeyRequest { expires_in: duration(600), ..rotate }).await.unwrap();
    let (key_id, _) = server.key(&[KeyScope::EventsRead]).await;
    keys.revoke_key(pb::RevokeKeyRequest { key_id: key_id.clone() }).await.unwrap();
    let ended = keys.rotate_key(pb::RotateKeyRequest { key_id, ..Default::default() }).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::FailedPrecondition, "KEY_ENDED"));
}
