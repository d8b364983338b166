//! The wire: types, clients and servers generated from `proto/runlog/v1/`, the one message that is written by hand, and
//! the buffers that calls begin with.
//!
//! The documentation of the generated items is the proto's own comments.

mod codec;
mod event_batch;

pub use event_batch::EventBatch;

pub use generated::*;

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated code; its documentation is proto comments, which are not written as Markdown"
)]
mod generated {
    tonic::include_proto!("runlog.v1");
}

/// The compiled proto files with their imports and comments, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("runlog_descriptor");
