//! Fields of a record on the wire.

use prost::encoding::{WireType, encode_varint, encoded_len_varint};

pub fn text_length(text: &str) -> usize {
    if text.is_empty() { 0 } else { message_length(text.len()) }
}

pub fn number_length(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number) }
}

pub fn message_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

pub fn start_message(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag << 3 | WireType::LengthDelimited as u8);
    put_varint(length as u64, out);
}

pub fn put_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        start_message(tag, text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

pub fn put_number(tag: u8, number: u64, out: &mut Vec<u8>) {
    if number > 0 {
        out.push(tag << 3 | WireType::Varint as u8);
        put_varint(number, out);
    }
}

/// With a fast path for one byte, the most common length.
pub fn put_varint(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(number, out),
    }
}
