//! The gRPC services. A handler decodes the request, calls the service once and encodes the answer.

mod admin_service;
mod dispatch;
mod event_service;
mod key_service;
mod publish;
mod publish_stream;
mod run_service;
mod subscribe;
mod web;
mod whole_messages;
mod wire_errors;

pub use admin_service::AdminHandler;
pub use dispatch::Dispatch;
pub use event_service::EventHandler;
pub use key_service::KeyHandler;
pub use run_service::RunHandler;
pub use web::{GrpcWeb, WebRequest, failed as failed_web_call, is_web_type};
pub use whole_messages::WholeMessages;
pub use wire_errors::WireErrors;
