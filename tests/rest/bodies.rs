//! Request bodies of real clients: with a byte order mark, compressed, and with invalid JSON that common languages
//! print.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::Value;

use crate::harness::{Gateway, json};

const APIS: [(&str, &str); 3] = [
    ("/api/structure-runs/r/events", r#"{"type":"note","payload":{"é":1}}"#),
    ("/api/ingest", r#"{"event_type":"note","sdk_run_id":"r","payload":{"é":1}}"#),
    ("/v1/runs/r/events", r#"{"type":"note","payload":{"é":1}}"#),
];

async fn post(gateway: &Gateway, path: &str, encoding: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json").body(body);
    let request = encoding.iter().fold(request, |request, encoding| request.header("content-encoding", *encoding));
    json(request.send().await.unwrap()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn a_packed_body_and_one_with_a_byte_order_mark_are_read_by_every_api() {
    let gateway = Gateway::start().await;
    for (path, body) in APIS {
        let with_mark = format!("\u{feff}{body}").into_bytes();
        let zstd = zstd::stream::encode_all(body.as_bytes(), 3).unwrap();
        for (encoding, bytes) in [
            (None, with_mark.clone()),
            (Some("gzip"), gzip(&with_mark)),
            (Some("GZip"), gzip(body.as_bytes())),
            (Some("x-gzip"), gzip(body.as_bytes())),
            (Some("identity, gzip"), gzip(body.as_bytes())),
            (Some("deflate"), zlib(body.as_bytes())),
            (Some("deflate"), deflate(body.as_bytes())),
            (Some("zstd"), zstd),
            (Some("identity"), body.as_bytes().to_vec()),
            (Some(""), body.as_bytes().to_vec()),
        ] {
            let (status, answer) = post(&gateway, path, encoding, bytes).await;
            assert!(matches!(status, 201 | 202), "{path} {encoding:?}: {answer}");
        }
        // `{}` in brotli: decompressed, the object lacks a required member.
        let (status, refusal) = post(&gateway, path, Some("br"), vec![0x8b, 0x00, 0x80, b'{', b'}', 0x03]).await;
        assert!(status == 422 && refusal.to_string().contains("must be set"), "{path}: {refusal}");
    }
    let (_, page) = gateway.get("/v1/runs/r/events?limit=100").await;
    let events = page["events"].as_array().unwrap();
    assert!(events.len() == 30 && events.iter().all(|event| event["payload"]["value"]["é"] == 1), "{page}");
}

#[tokio::test]
async fn what_does_not_unpack_or_unpacks_to_too_much_is_refused_and_nothing_of_it_is_stored() {
    let gateway = Gateway::start().await;
    let bomb = format!("[{}", " ".repeat(64 << 20));
    for (path, body) in APIS {
        for (encoding, bytes, status, word) in [
            ("compress", body.as_bytes().to_vec(), 415, "gzip, deflate, br, zstd"),
            ("gzip, gzip", gzip(&gzip(body.as_bytes())), 415, "Content-Encoding"),
            ("gzip", body.as_bytes().to_vec(), 400, "is not gzip"),
            ("gzip", gzip(body.as_bytes())[..20].to_vec(), 400, "is not gzip"),
            ("zstd", body.as_bytes().to_vec(), 400, "is not zstd"),
            ("br", body.as_bytes().to_vec(), 400, "is not br"),
            ("gzip", gzip(bomb.as_bytes()), 413, "at most 4194304 bytes"),
            ("zstd", zstd::stream::encode_all(bomb.as_bytes(), 3).unwrap(), 413, "at most 4194304 bytes"),
        ] {
            let (answered, refusal) = post(&gateway, path, Some(encoding), bytes).await;
            assert!(
                answered == status && refusal.to_string().contains(word),
                "{path} {encoding}: {answered} {refusal}"
            );
        }
    }
    assert_eq!(gateway.get("/v1/runs/r").await.0, 404);
}

#[tokio::test]
async fn what_other_languages_print_is_refused_by_its_path_with_what_to_send_instead() {
    let gateway = Gateway::start().await;
    for (path, good) in APIS {
        for (value, advice) in [
            ("NaN", "NaN is none; send null or a string"),
            ("-Infinity", "-Infinity is none; send null or a string"),
            ("None", "None is none; send null"),
            ("True", "True is none; send true"),
            ("'x'", "strings are in double quotes"),
            ("01", "JSON has no such number"),
        ] {
            let bad = good.replace(r#"{"é":1}"#, &format!(r#"{{"scores":[1,{value}]}}"#));
            for (body, at) in [(bad.clone(), "payload.scores[1]"), (format!("[{good},{bad}]"), "[1].payload.scores[1]")]
            {
                let (status, refusal) = gateway.post(path, &body).await;
                assert_eq!(status, 400, "{path}: {refusal}");
                let expected = format!("{at}: must be JSON: {advice}");
                assert!(refusal.to_string().contains(&expected), "{path}: {refusal} has {expected}");
            }
        }
    }
}
