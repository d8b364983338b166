//! Single fields of a record, decoded without the rest of it.

use jiff::Timestamp;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::domain::error::Result;
use crate::domain::event::Origin;

use super::{Instant, damaged, origin, timestamp};

/// The fields of a record that filters and indexes use, decoded without the rest of the record.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Id of the run.
    pub run_id: &'a str,
    /// Sequence number in the run.
    pub seq: u64,
    /// Id of the event.
    pub event_id: &'a str,
    /// Type of the event.
    pub event_type: &'a str,
    /// Source of the event.
    pub origin: Origin,
}

/// Decodes the header, the first five fields of a record.
///
/// # Errors
/// `StoreDamaged` for a header that does not decode.
pub fn header(record: &[u8]) -> Result<Header<'_>> {
    Ok(split_header(record)?.0)
}

/// Decodes the commit time of a record. The payload is not read and may be damaged.
///
/// # Errors
/// `StoreDamaged` for a header or time that does not decode.
pub fn recorded_at(record: &[u8]) -> Result<Timestamp> {
    let (_, mut rest) = split_header(record)?;
    bytes_field(&mut rest, 6)?;
    timestamp(Some(Instant::decode(bytes_field(&mut rest, 7)?).map_err(damaged)?))
}

/// Decodes the name of the agent of a record; `None` without one. The payload is not read and may be damaged.
///
/// # Errors
/// `StoreDamaged` for a header or fields before the name that do not decode.
pub fn agent_name(record: &[u8]) -> Result<Option<&str>> {
    let (_, mut rest) = split_header(record)?;
    bytes_field(&mut rest, 6)?;
    bytes_field(&mut rest, 7)?;
    let mut after = rest;
    match decode_key(&mut after) {
        Ok((8, WireType::LengthDelimited)) => text_field(&mut rest, 8).map(Some),
        _ => Ok(None),
    }
}

/// The header, and the rest of the record.
fn split_header(record: &[u8]) -> Result<(Header<'_>, &[u8])> {
    let mut rest = record;
    let run_id = text_field(&mut rest, 1)?;
    let (2, WireType::Varint) = decode_key(&mut rest).map_err(damaged)? else {
        return Err(damaged("a record lacks its seq"));
    };
    let seq = decode_varint(&mut rest).map_err(damaged)?;
    let event_id = text_field(&mut rest, 3)?;
    let event_type = text_field(&mut rest, 4)?;
    let (5, WireType::Varint) = decode_key(&mut rest).map_err(damaged)? else {
        return Err(damaged("a record lacks its origin"));
    };
    let number = decode_varint(&mut rest).map_err(damaged)?;
    let origin = origin(i32::try_from(number).map_err(damaged)?)?;
    Ok((Header { run_id, seq, event_id, event_type, origin }, rest))
}

fn text_field<'a>(rest: &mut &'a [u8], tag: u32) -> Result<&'a str> {
    std::str::from_utf8(bytes_field(rest, tag)?).map_err(damaged)
}

fn bytes_field<'a>(rest: &mut &'a [u8], tag: u32) -> Result<&'a [u8]> {
    match decode_key(rest).map_err(damaged)? {
        (found, WireType::LengthDelimited) if found == tag => {}
        _ => return Err(damaged("a record lacks a field of its header")),
    }
    let length = usize::try_from(decode_varint(rest).map_err(damaged)?).map_err(damaged)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| damaged("a record is cut off"))?;
    *rest = after;
    Ok(bytes)
}
