//! A stand-in for a replica: healthy, records the requests, and answers as the test chooses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

/// The answer to a request after its body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Answers with the size of the body.
    Measure,
    /// Closes the connection without an answer.
    Die,
    /// Begins an answer that never ends.
    Begin,
}

pub struct Replica {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Parts>>>,
}

impl Replica {
    pub async fn start(does: Does) -> Self {
        let seen = Arc::<Mutex<Vec<Parts>>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let remembers = seen.clone();
        let answer = move |request: Request| {
            let seen = remembers.clone();
            async move {
                let (parts, body) = request.into_parts();
                let size = axum::body::to_bytes(body, usize::MAX).await.unwrap().len();
                seen.lock().unwrap().push(parts);
                match does {
                    Does::Measure => Response::new(Body::from(size.to_string())),
                    // Ends the task of the connection without printing a panic message.
                    Does::Die => std::panic::resume_unwind(Box::new("dies")),
                    Does::Begin => {
                        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("first")]);
                        let rest = futures_util::stream::pending();
                        Response::new(Body::from_stream(futures_util::StreamExt::chain(first, rest)))
                    }
                }
            }
        };
        let (_reporter, health) = tonic_health::server::health_reporter();
        let router = Router::new().fallback(answer);
        let router = Routes::new(health).into_axum_router().reset_fallback().merge(router);
        let server = Server::builder().add_routes(Routes::from(router));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, seen }
    }

    /// The heads of the received requests.
    pub fn seen(&self) -> Vec<Parts> {
        self.seen.lock().unwrap().clone()
    }
}
