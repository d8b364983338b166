//! TLS of the program: both protocols on one port, certificates of clients, changes of the files while it serves, and what
//! the command line says where the two ends do not match.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use runlog::pb::event_service_client::EventServiceClient;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::certificates::{Authority, Pair, put};
use crate::client::{self, Events};
use crate::command::{Ran, run};
use crate::harness::{Data, Server, eventually, within};
use crate::start::cannot_serve;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The files of a server in a directory of its own: `cert.pem`, `key.pem`, and `ca.pem` for clients.
struct Files {
    data: Data,
    authority: Authority,
    first: Pair,
}

impl Files {
    fn new() -> Self {
        let authority = Authority::new("runlog test");
        let files = Self { data: Data::new(), first: authority.pair(), authority };
        files.put("ca.pem", files.authority.pem());
        files.put("cert.pem", &files.first.cert);
        files.put("key.pem", &files.first.key);
        files
    }

    fn put(&self, name: &str, text: &str) {
        put(self.data.directory(), name, text);
    }

    fn path(&self, name: &str) -> String {
        self.data.directory().join(name).to_str().unwrap().to_owned()
    }

    async fn serve(&self, options: &[&str]) -> Server {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        let tls = ["--tls-cert", &cert, "--tls-key", &key];
        Server::with(&self.data.file(), &[&tls[..], options].concat()).await
    }

    /// Runs a command against the server, which it trusts by `--ca`.
    async fn run(&self, server: &Server, args: &[&str]) -> Ran {
        run(&url(server), &[args, &["--ca", &self.path("ca.pem")]].concat()).await
    }

    async fn events(&self, server: &Server) -> Events {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.pem()));
        let endpoint = Endpoint::from_shared(url(server)).unwrap().tls_config(tls).unwrap();
        let channel: Channel = endpoint.connect().await.expect("a connection");
        EventServiceClient::new(channel)
    }

    /// A TLS connection that offers this protocol, and shows a certificate if there is one.
    async fn connect(
        &self,
        address: SocketAddr,
        protocol: &[u8],
        own: Option<&Pair>,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            Some(own) => builder.with_client_auth_cert(
                vec![own.der.clone().into()],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes())?,
            )?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpStream::connect(address).await?;
        let connected = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, socket);
        Ok(within("the handshake", connected).await?)
    }

    /// Status and body of a request over HTTP/1.1.
    async fn ask(
        &self,
        address: SocketAddr,
        own: Option<&Pair>,
        request: http::request::Builder,
        body: &'static str,
    ) -> Result<(u16, String), Failed> {
        let stream = self.connect(address, b"http/1.1", own).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = request.header("host", address.to_string()).body(Full::<bytes::Bytes>::from(body))?;
        let answer = within("an answer", requests.send_request(request)).await?;
        let status = answer.status().as_u16();
        let body = within("a body", answer.into_body().collect()).await?.to_bytes();
        connection.abort();
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    async fn metrics(&self, server: &Server) -> String {
        self.ask(server.address, None, http::Request::get("/metrics"), "").await.unwrap().1
    }

    /// Waits until new connections are shown this certificate.
    async fn is_shown(&self, server: &Server, pair: &Pair) {
        eventually("the certificate", async || {
            let stream = self.connect(server.address, b"h2", None).await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == pair.der
        })
        .await;
    }
}

fn url(server: &Server) -> String {
    format!("https://{}", server.address)
}

const PUBLISH: [&str; 5] = ["publish", "--run", "r", "--type", "step"];
const LIST: [&str; 4] = ["list", "--run", "r", "--json"];

#[tokio::test]
async fn one_port_serves_both_protocols_by_what_the_client_offers() {
    let files = Files::new();
    let server = files.serve(&[]).await;
    assert!(server.log().contains(&url(&server)), "the log has the URL");
    let mut events = files.events(&server).await;
    assert_eq!(client::publish_one(&mut events, "r", "step", "{}").await, 1);
    let stream = files.connect(server.address, b"h2", None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let ready = files.ask(server.address, None, http::Request::get("/health/ready"), "").await.unwrap();
    assert_eq!(ready.0, 200, "{ready:?}");
    // Pages that the server itself serves have https:// as their scheme, also over HTTP/1.1.
    let event = r#"{"event_type":"step","sdk_run_id":"r","payload":{}}"#;
    for (scheme, status) in [("https", 202), ("http", 403)] {
        let request = http::Request::post("/api/ingest")
            .header("content-type", "application/json")
            .header("origin", format!("{scheme}://{}", server.address));
        let answer = files.ask(server.address, None, request, event).await.unwrap();
        assert_eq!(answer.0, status, "{scheme}: {answer:?}");
    }
    // A protocol that the server does not speak.
    files.connect(server.address, b"spdy/3", None).await.unwrap_err();
}

#[tokio::test]
async fn the_admin_listener_speaks_tls_too() {
    let files = Files::new();
    let server = files.serve(&["--admin-listen", "127.0.0.1:0"]).await;
    let log = server.says("are served apart").await;
    let line = log.lines().find(|line| line.contains("are served apart")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let admin: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let (status, text) = files.ask(admin, None, http::Request::get("/metrics"), "").await.unwrap();
    assert!(status == 200 && text.contains("runlog_tls_certificate_not_after_seconds"), "{status} {text}");
    assert!(reqwest::get(format!("http://{admin}/metrics")).await.is_err());
}

#[tokio::test]
async fn the_commands_speak_tls_and_trust_the_authority_of_the_option_alone() {
    let files = Files::new();
    let server = files.serve(&[]).await;
    files.run(&server, &PUBLISH).await.succeeds();
    assert_eq!(files.run(&server, &LIST).await.json().len(), 1);
    assert_eq!(files.run(&server, &["health"]).await.succeeds().trim(), "SERVING");
    files.run(&server, &["publish", "--run", "r", "--type", "run_end"]).await.succeeds();
    assert_eq!(files.run(&server, &["tail", "r", "--json"]).await.json().len(), 2);
    files.put("other.pem", Authority::new("another").pem());
    run(&url(&server), &[&LIST[..], &["--ca", &files.path("other.pem")]].concat())
        .await
        .fails(69, &["UnknownIssuer", "--ca"]);
    run(&url(&server), &[&LIST[..], &["--ca", &files.path("none.pem")]].concat())
        .await
        .fails(66, &["--ca", "none.pem"]);
    run(&url(&server), &[&LIST[..], &["--ca", &files.path("key.pem")]].concat())
        .await
        .fails(64, &["--ca", "key.pem", "no PEM certificate"]);
    run(&url(&server), &["bench", "sse", "--ca", &files.path("ca.pem")]).await.fails(64, &["sse", "https://"]);
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_serves_clients_of_its_authority_alone() {
    let files = Files::new();
    let server = files.serve(&["--tls-client-ca", &files.path("ca.pem")]).await;
    let (right, other) = (files.authority.pair(), Authority::new("another").pair());
    for (name, pair) in [("right", &right), ("other", &other)] {
        files.put(&format!("{name}.pem"), &pair.cert);
        files.put(&format!("{name}-key.pem"), &pair.key);
    }
    let (right_cert, right_key) = (files.path("right.pem"), files.path("right-key.pem"));
    let (other_cert, other_key) = (files.path("other.pem"), files.path("other-key.pem"));
    let own = |cert, key| [&LIST[..], &["--cert", cert, "--cert-key", key]].concat();
    let publish = [&PUBLISH[..], &["--cert", &right_cert, "--cert-key", &right_key]].concat();
    files.run(&server, &publish).await.succeeds();
    assert_eq!(files.run(&server, &own(&right_cert, &right_key)).await.json().len(), 1);
    // The refusal comes with the first answer. A call that is begun at that moment learns only that the connection ended.
    for (args, hint) in [(LIST.to_vec(), "--cert and --cert-key"), (own(&other_cert, &other_key), "is --cert of")] {
        eventually(hint, async || {
            let ran = files.run(&server, &args).await;
            assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{ran:?}");
            ran.stderr.contains(hint)
        })
        .await;
    }
    files.run(&server, &own(&right_cert, &other_key)).await.fails(64, &["right.pem", "other-key.pem"]);
    let get = || http::Request::get("/metrics");
    files.ask(server.address, None, get(), "").await.unwrap_err();
    files.ask(server.address, Some(&other), get(), "").await.unwrap_err();
    let (status, text) = files.ask(server.address, Some(&right), get(), "").await.unwrap();
    assert_eq!(status, 200);
    for reason in ["no_client_certificate", "client_certificate"] {
        let series = format!("runlog_tls_handshake_failures_total{{reason=\"{reason}\"}}");
        assert!(text.contains(&series), "{series} in {text}");
    }
    // At least four attempts were refused, and the log has at most one line a minute.
    assert!((1..4).contains(&server.log().matches("TLS handshakes fail").count()), "{}", server.log());
    // The authority of the clients may change as well.
    let next = Authority::new("next");
    files.put("ca.pem", next.pem());
    let next = next.pair();
    eventually("the next authority", async || {
        files.ask(server.address, Some(&next), get(), "").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    files.ask(server.address, Some(&right), get(), "").await.unwrap_err();
}

#[tokio::test]
async fn cleartext_is_not_served_where_tls_is_spoken() {
    let files = Files::new();
    let server = files.serve(&[]).await;
    for said in [&b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        // The end may be a reset.
        let _ = within("the end of the connection", socket.read_to_end(&mut answer)).await;
        // At most the alert of TLS.
        assert!(answer.len() < 9 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert!(files.metrics(&server).await.contains("runlog_tls_handshake_failures_total{reason=\"no_tls\"} 2"));
    eventually("the hint", async || {
        let ran = run(&format!("http://{}", server.address), &LIST).await;
        assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{ran:?}");
        ran.stderr.contains("https:// URL")
    })
    .await;
    let data = Data::new();
    let plain = Server::start(&data.file()).await;
    run(&url(&plain), &[&LIST[..], &["--ca", &files.path("ca.pem")]].concat()).await.fails(69, &["http:// URL"]);
}

#[tokio::test]
async fn a_changed_certificate_is_taken_under_load_and_cuts_no_stream() {
    let files = Files::new();
    let server = files.serve(&[]).await;
    let mut events = files.events(&server).await;
    client::publish_one(&mut events, "r", "step", "{}").await;
    let mut frames = events.subscribe(client::follow("r")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut frames).await.len(), 1);
    let done = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn({
        let (done, mut events) = (Arc::clone(&done), events.clone());
        async move {
            let mut last = 1;
            while !done.load(Ordering::Relaxed) {
                last = client::publish_one(&mut events, "r", "step", "{}").await;
            }
            last
        }
    });
    files.is_shown(&server, &files.first).await;
    let second = files.authority.pair();
    // The two files change one after the other.
    files.put("cert.pem", &second.cert);
    files.put("key.pem", &second.key);
    files.is_shown(&server, &second).await;
    done.store(true, Ordering::Relaxed);
    let last = publisher.await.unwrap();
    client::publish_one(&mut events, "r", "run_end", "{}").await;
    let mut seen = 1;
    while seen <= last {
        let frame = client::frame(&mut frames).await.expect("the stream goes on");
        if let Some(runlog::pb::subscribe_response::Frame::Events(batch)) = frame.frame {
            for event in batch.events().unwrap() {
                seen += 1;
                assert_eq!(event.seq, seen);
            }
        }
    }
    let metrics = files.metrics(&server).await;
    assert!(metrics.contains("runlog_tls_certificate_reloads_total{outcome=\"loaded\"}"), "{metrics}");
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_named_once() {
    let files = Files::new();
    let server = files.serve(&[]).await;
    let second = files.authority.pair();
    files.put("key.pem", &second.key);
    let log = server.says("cannot be used").await;
    assert!(log.contains(&files.path("key.pem")) && log.contains("not that of the certificate"), "{log}");
    files.is_shown(&server, &files.first).await;
    files.put("cert.pem", &second.cert);
    files.is_shown(&server, &second).await;
    assert_eq!(server.log().matches("cannot be used").count(), 1, "{}", server.log());
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    server.says("No such file").await;
    files.is_shown(&server, &second).await;
    files.put("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    eventually("another line", async || server.log().matches("cannot be used").count() == 3).await;
    files.is_shown(&server, &second).await;
    let metrics = files.metrics(&server).await;
    assert!(metrics.contains("runlog_tls_certificate_reloads_total{outcome=\"refused\"} 3"), "{metrics}");
}

#[tokio::test]
async fn a_server_that_cannot_use_its_files_names_the_option_and_the_file() {
    let files = Files::new();
    let (cert, key, ca) = (files.path("cert.pem"), files.path("key.pem"), files.path("ca.pem"));
    let (none, other) = (files.path("none.pem"), files.path("other.pem"));
    files.put("other.pem", &files.authority.pair().key);
    let data = files.data.file();
    for (options, words) in [
        (&["--tls-cert", &cert][..], &["--tls-cert", "--tls-key"][..]),
        (&["--tls-key", &key], &["--tls-key", "--tls-cert"]),
        (&["--tls-client-ca", &ca], &["--tls-client-ca", "--tls-cert"]),
        (&["--tls-cert", &none, "--tls-key", &key], &["--tls-cert", &none, "No such file"]),
        (&["--tls-cert", &key, "--tls-key", &key], &["--tls-cert", &key, "no PEM certificate"]),
        (&["--tls-cert", &cert, "--tls-key", &none], &["--tls-key", &none, "No such file"]),
        (&["--tls-cert", &cert, "--tls-key", &cert], &["--tls-key", &cert, "no private key"]),
        (&["--tls-cert", &cert, "--tls-key", &other], &["--tls-key", &other, &cert, "not that of the certificate"]),
        (
            &["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &key],
            &["--tls-client-ca", &key, "no PEM certificate"],
        ),
    ] {
        cannot_serve(&data, options, words).await;
        assert!(!data.exists(), "nothing was made before the files were checked");
    }
    // `check` reads them as well.
    let args = ["check", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--tls-cert", &cert];
    let ran = run("", &[&args[..], &["--tls-key", &other]].concat()).await;
    assert!(ran.code == Some(78) && ran.stdout.contains("--tls-key"), "{ran:?}");
    let ran = run("", &[&args[..], &["--tls-key", &key]].concat()).await;
    assert!(ran.stdout.contains("valid until 4096"), "{ran:?}");
}
