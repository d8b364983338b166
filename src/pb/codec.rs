//! prost on the wire, with buffers that begin small.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What the buffers of a call begin with, bytes: an event or an answer fits, a page or a batch makes them grow. Every
/// subscription keeps one for as long as it lives, so 10,000 of them would hold 80 MiB at tonic's own 8 KiB.
const BUFFER_BYTES: usize = 1 << 10;

/// Bytes after which encoded messages are handed to the connection, more messages or not; as tonic has it.
const YIELD_BYTES: usize = 32 << 10;

/// Encodes `T` and decodes `U`.
#[derive(Clone, Debug)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + 'static, U: Message + Default + 'static> Codec for SmallBuffers<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
