//! Transports: gRPC, REST and event streams. Requests are checked and decoded into domain values, results are encoded.
//! The rules of the domain live in `service` and `domain`.

pub mod authentication;
pub mod boundary;
pub mod caller;
mod coalescing;
pub mod connections;
pub mod console;
mod control_frames;
pub mod convert;
mod cors;
pub mod drain;
pub mod frames;
pub mod grpc;
pub mod listeners;
pub mod memory;
pub mod payload;
mod places;
pub mod rest;
pub mod sse;
pub mod status;
mod stream_token;
pub mod tls;
pub mod view;
