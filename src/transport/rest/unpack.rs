//! Decompression of request bodies, limited by the decompressed size.

use std::fmt;
use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Largest window of a zstd body, as a power of 2: 8 MiB, the limit of RFC 9659 for HTTP. Without a limit, a frame of a
/// few bytes could ask for gigabytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const BUFFER_BYTES: usize = 16 << 10;

/// A supported content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip` or `x-gzip`: RFC 1952.
    Gzip,
    /// `deflate`: RFC 1950 (zlib), or RFC 1951 without the zlib header, as some clients send.
    Deflate,
    /// `br`: RFC 7932.
    Brotli,
    /// `zstd`: RFC 8878.
    Zstd,
}

impl Encoding {
    /// Encoding of this name in `Content-Encoding`, in any letter case; `None` if unsupported.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }
}

/// Result of a decompression.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpacked {
    /// All data, at most the limit.
    Whole(Vec<u8>),
    /// More data than the limit; the rest was not read.
    TooLarge,
    /// Truncated data, or data in another encoding.
    Corrupt,
}

/// Decompresses a body of at most `max_bytes`, counted after decompression.
#[must_use]
pub fn unpack(encoding: Encoding, packed: &[u8], max_bytes: usize) -> Unpacked {
    let read = match encoding {
        Encoding::Gzip => bounded(MultiGzDecoder::new(packed), max_bytes),
        Encoding::Deflate if has_zlib_header(packed) => bounded(ZlibDecoder::new(packed), max_bytes),
        Encoding::Deflate => bounded(DeflateDecoder::new(packed), max_bytes),
        Encoding::Brotli => bounded(Decompressor::new(packed, BUFFER_BYTES), max_bytes),
        Encoding::Zstd => zstd::stream::read::Decoder::new(packed).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            bounded(decoder, max_bytes)
        }),
    };
    match read {
        Ok(bytes) if bytes.len() > max_bytes => Unpacked::TooLarge,
        Ok(bytes) => Unpacked::Whole(bytes),
        Err(_) => Unpacked::Corrupt,
    }
}

/// Reads one byte more than the limit at most, to detect a longer body.
fn bounded(decoder: impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn has_zlib_header(packed: &[u8]) -> bool {
    matches!(packed, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        match encoding {
            "gzip" => gzip.write_all(bytes).and_then(|()| gzip.finish()).unwrap(),
            "deflate" => zlib.write_all(bytes).and_then(|()| zlib.finish()).unwrap(),
            "raw deflate" => raw.write_all(bytes).and_then(|()| raw.finish()).unwrap(),
            _ => zstd::stream::encode_all(bytes, 19).unwrap(),
        }
    }

    #[test]
    fn what_was_packed_comes_out_and_no_more_than_the_bound() {
        let bomb = vec![b' '; 10 << 20];
        for (name, encoding) in [
            ("gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
            ("raw deflate", Encoding::Deflate),
            ("zstd", Encoding::Zstd),
        ] {
            let text = br#"{"a":[1,2,3]}"#;
            assert_eq!(unpack(encoding, &packed(name, text), 13), Unpacked::Whole(text.to_vec()), "{name}");
            assert_eq!(unpack(encoding, &packed(name, text), 12), Unpacked::TooLarge, "{name}");
            assert_eq!(unpack(encoding, &packed(name, &bomb), 1 << 20), Unpacked::TooLarge, "{name}");
            let whole = packed(name, text);
            assert_eq!(unpack(encoding, &whole[..whole.len() - 3], 13), Unpacked::Corrupt, "{name}, cut off");
            assert_eq!(unpack(encoding, b"{\"a\":1}", 100), Unpacked::Corrupt, "{name}, not packed");
        }
    }

    #[test]
    fn brotli_is_unpacked_within_the_bound() {
        // `{}` compressed by `brotli`.
        let braces = [0x8b, 0x00, 0x80, b'{', b'}', 0x03];
        assert_eq!(unpack(Encoding::Brotli, &braces, 2), Unpacked::Whole(b"{}".to_vec()));
        assert_eq!(unpack(Encoding::Brotli, &braces, 1), Unpacked::TooLarge);
        assert_eq!(unpack(Encoding::Brotli, &braces[..4], 2), Unpacked::Corrupt);
        assert_eq!(unpack(Encoding::Brotli, b"{\"a\":1}", 100), Unpacked::Corrupt);
    }

    #[test]
    fn a_zstd_frame_that_asks_for_a_large_window_is_refused() {
        // Magic number, a descriptor without a content size, a window of 2^31 bytes, an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert_eq!(unpack(Encoding::Zstd, &frame, 100), Unpacked::Corrupt);
    }
}
