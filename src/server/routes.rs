//! What a listener serves: the gRPC services, the JSON gateway and the console, and the layers around them.

use std::sync::Arc;

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Layer;

use super::{Server, http, parts};
use crate::pb;
use crate::pb::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE};
use crate::pb::event_service_server::{EventServiceServer, SERVICE_NAME as EVENT_SERVICE};
use crate::pb::key_service_server::{KeyServiceServer, SERVICE_NAME as KEY_SERVICE};
use crate::pb::run_service_server::{RunServiceServer, SERVICE_NAME as RUN_SERVICE};
use crate::telemetry;
use crate::transport::boundary::BoundaryOptions;
use crate::transport::grpc::{AdminHandler, EventHandler, GrpcWeb, KeyHandler, RunHandler, WireErrors};
use crate::transport::memory::Memory;
use crate::transport::rest::{Gateway, Offer};

/// Bytes of a request message around a payload of the largest size.
const FRAMING_BYTES: usize = 1 << 10;

/// Why descriptors decode.
const DECODES: &str = "they are compiled into the program";

impl Server {
    /// Options of the boundary for a listener; `is_loopback`: only this machine reaches it.
    pub(super) fn boundary(&self, is_loopback: bool) -> BoundaryOptions {
        BoundaryOptions {
            is_loopback,
            is_tls: self.options.tls.is_on(),
            allowed_hosts: self.options.connections.allowed_hosts.clone(),
            allowed_origins: self.options.connections.cors_origins.clone(),
            grpc_services: GRPC_SERVICES.to_vec(),
            max_message_bytes: self.max_message_bytes(),
            max_page_bytes: 2 * parts::MAX_PAGE_BYTES,
        }
    }

    /// The layer that translates gRPC-web.
    pub(super) fn web<S: Clone>(&self, memory: Arc<Memory>) -> impl Layer<S, Service = GrpcWeb<S>> + Clone + use<S> {
        GrpcWeb::layer(memory, self.max_message_bytes(), &self.options.connections.cors_origins)
    }

    /// The gRPC service for publishing, listing and subscribing.
    pub(super) fn events(&self) -> WireErrors<EventServiceServer<EventHandler>> {
        let events = EventServiceServer::new(EventHandler::new(self.service.clone()));
        WireErrors::layer(self.options.connections.request_timeout)
            .layer(events.max_decoding_message_size(self.max_message_bytes()))
    }

    /// The other gRPC services, the JSON gateway and the console, on the same port.
    pub(super) fn routes(&self, health: HealthServer<impl Health>, offer: Offer) -> Routes {
        let grpc = self.grpc(health, offer).into_axum_router().reset_fallback();
        let grpc = grpc.layer(WireErrors::layer(self.options.connections.request_timeout));
        let gateway = Gateway::new(self.service.clone(), parts::gateway_options(&self.options), telemetry::recorder());
        let http = http::router(gateway, offer, self.options.has_console());
        Routes::from(grpc.merge(http).fallback(http::unmatched_route))
    }

    fn grpc(&self, health: HealthServer<impl Health>, offer: Offer) -> Routes {
        let max = self.max_message_bytes();
        let mut routes = Routes::new(health.max_decoding_message_size(max));
        if offer != Offer::Operation {
            let runs = RunServiceServer::new(RunHandler::new(self.service.clone()));
            let keys = KeyServiceServer::new(KeyHandler::new(self.service.clone()));
            routes = routes.add_service(runs.max_decoding_message_size(max));
            let admin = AdminServiceServer::new(AdminHandler::new(self.service.clone()));
            routes = routes.add_service(keys.max_decoding_message_size(max));
            routes = routes.add_service(admin.max_decoding_message_size(max));
        }
        if offer != Offer::Events {
            let v1 = reflection().build_v1().unwrap_or_else(|_| unreachable!("{DECODES}"));
            let v1alpha = reflection().build_v1alpha().unwrap_or_else(|_| unreachable!("{DECODES}"));
            routes = routes.add_service(v1.max_decoding_message_size(max));
            routes = routes.add_service(v1alpha.max_decoding_message_size(max));
        }
        routes
    }

    /// Largest message, bytes: `--max-request-bytes` and room for the framing, so that a payload of exactly that size fits.
    fn max_message_bytes(&self) -> usize {
        self.options.limits.max_request_bytes + FRAMING_BYTES
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_file_descriptor_set(error_details())
}

/// Descriptors of the details of errors, so that generic clients show them. tonic-types has them under their bare names; here they
/// have the names by which they are imported, such as `google/rpc/error_details.proto`.
fn error_details() -> FileDescriptorSet {
    let decoded = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET);
    let mut files = decoded.unwrap_or_else(|_| unreachable!("{DECODES}"));
    for file in files.file.iter_mut().filter(|file| !file.name().contains('/')) {
        file.name = Some(format!("google/rpc/{}", file.name()));
    }
    files
}

/// Names of all gRPC services.
const GRPC_SERVICES: [&str; 7] = [
    ADMIN_SERVICE,
    EVENT_SERVICE,
    KEY_SERVICE,
    RUN_SERVICE,
    tonic_health::pb::health_server::SERVICE_NAME,
    tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME,
    tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME,
];
