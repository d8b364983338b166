//! The wire on the outside, the service on the inside: what comes in is checked and becomes domain values, what goes
//! out is translated. No rules live here.

pub mod boundary;
pub mod connections;
mod control_frames;
pub mod convert;
pub mod frames;
pub mod grpc;
pub mod memory;
pub mod payload;
pub mod rest;
pub mod sse;
pub mod status;
pub mod view;
