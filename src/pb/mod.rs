//! gRPC types, clients and servers generated from `proto/runlog/v1/`, the hand-written message `EventBatch`, and the codec of
//! calls.
//!
//! The documentation of the generated items is the comments of the proto files.

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

/// Encoded `FileDescriptorSet` of the proto files with imports and comments, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("runlog_descriptor");
