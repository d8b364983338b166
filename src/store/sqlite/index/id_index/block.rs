//! Format of ids on disk: blocks of places, sorted by hash. Hashes are evenly distributed, so hash and number of blocks
//! give the block, without a lookup of block boundaries.

use crate::domain::{Error, Result};

/// Place of an event: run and seq, under the hash of the event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub hash: u64,
    pub run: i64,
    pub seq: u64,
}

/// Average number of places in a block. About eight blocks share a page of the database.
pub const BLOCK_PLACES: usize = 48;

/// Hash (8 bytes), run (6) and seq (6), big-endian.
const PLACE_BYTES: usize = 20;

/// Number of blocks for this many places.
pub fn blocks_for(places: u64) -> u32 {
    u32::try_from(places.div_ceil(BLOCK_PLACES as u64).max(1)).unwrap_or(u32::MAX)
}

/// Number of the block of a hash, from 0, in a segment of `blocks` blocks.
pub fn of_hash(hash: u64, blocks: u32) -> u32 {
    u32::try_from((u128::from(hash) * u128::from(blocks)) >> 64).unwrap_or(u32::MAX)
}

/// Lowest and highest hash of the blocks from `first` to before `end`.
pub fn hashes(first: u32, end: u32, blocks: u32) -> (u64, u64) {
    let lowest = |block: u32| (u128::from(block) << 64).div_ceil(u128::from(blocks));
    let narrow = |hash: u128| u64::try_from(hash).unwrap_or(u64::MAX);
    (narrow(lowest(first)), narrow(lowest(end) - 1))
}

pub fn push(block: &mut Vec<u8>, place: Place) {
    block.extend_from_slice(&place.hash.to_be_bytes());
    block.extend_from_slice(&place.run.to_be_bytes()[2..]);
    block.extend_from_slice(&place.seq.to_be_bytes()[2..]);
}

/// Decodes a block. Fails with `StoreDamaged` for a truncated block.
pub fn places(block: &[u8]) -> Result<impl Iterator<Item = Place>> {
    let (records, []) = block.as_chunks::<PLACE_BYTES>() else {
        tracing::error!("a block of ids is cut off");
        return Err(Error::StoreDamaged);
    };
    Ok(records.iter().map(|record| {
        let number =
            |from: usize, to: usize| record[from..to].iter().fold(0, |n: u64, byte| (n << 8) | u64::from(*byte));
        Place { hash: number(0, 8), run: number(8, 14).cast_signed(), seq: number(14, 20) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_one_block_and_blocks_cover_all_hashes() {
        for blocks in [1, 2, 3, 7, 1_000, 1 << 20, u32::MAX] {
            let mut next = 0;
            for first in (0..blocks).step_by((blocks as usize / 5).max(1)) {
                let end = blocks.min(first + (blocks / 5).max(1));
                let (low, high) = hashes(first, end, blocks);
                assert_eq!(low, next, "the parts follow each other");
                assert_eq!((of_hash(low, blocks), of_hash(high, blocks)), (first, end - 1));
                next = high.wrapping_add(1);
            }
            assert_eq!(next, 0, "the last part ends with the highest hash");
        }
    }

    #[test]
    fn places_read_back_as_they_were_written() {
        let all = [(0, 1, 1), (7, 0xffff_ffff_ffff, 2), (u64::MAX, 5, 0xff_ffff_ffff)];
        let all = all.map(|(hash, run, seq)| Place { hash, run, seq });
        let mut block = Vec::new();
        all.into_iter().for_each(|place| push(&mut block, place));
        assert!(places(&block).unwrap().eq(all));
        block.pop();
        assert!(places(&block).is_err());
    }
}
