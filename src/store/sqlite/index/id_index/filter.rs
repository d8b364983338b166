//! Blocked Bloom filter over the ids of a segment: rules out nearly all absent ids without a disk read. Each block has
//! a line of its own, so that a lookup touches one cache line of memory.

use crate::domain::{Error, Result};

use super::block;

/// Words of a line: 512 bits for 48 ids. About one in a hundred absent ids passes.
const LINE_WORDS: usize = 8;

/// Bits that an id sets in the line of its block.
const PROBES: u32 = 6;

/// Lines of all blocks, in block order.
#[derive(Debug, Default)]
pub struct Filter(Vec<u64>);

impl Filter {
    /// An empty filter with capacity for this many blocks.
    pub fn with_room(blocks: u32) -> Self {
        Self(Vec::with_capacity(blocks as usize * LINE_WORDS))
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len() * 8
    }

    /// Appends the line of the next block.
    pub fn push_line(&mut self, hashes: impl Iterator<Item = u64>) {
        let mut line = [0; LINE_WORDS];
        for hash in hashes {
            for (word, bit) in bits(hash) {
                line[word] |= bit;
            }
        }
        self.0.extend(line);
    }

    /// Whether the segment may hold the hash.
    pub fn may_hold(&self, hash: u64, blocks: u32) -> bool {
        let line = block::of_hash(hash, blocks) as usize * LINE_WORDS;
        let line = &self.0[line..line + LINE_WORDS];
        bits(hash).all(|(word, bit)| line[word] & bit != 0)
    }

    /// The stored form: little-endian words.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Appends the lines of the next blocks.
    pub fn append(&mut self, next: Self) {
        self.0.extend(next.0);
    }

    /// Appends lines in stored form.
    pub fn push_part(&mut self, part: &[u8]) -> Result<()> {
        let (words, []) = part.as_chunks::<8>() else { return Err(Error::StoreDamaged) };
        self.0.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        Ok(())
    }

    /// Whether the filter has a line for each of this many blocks.
    pub fn is_for(&self, blocks: u32) -> bool {
        self.0.len() == blocks as usize * LINE_WORDS
    }
}

/// Word and bit of each probe. The upper bits of the hash choose the block, so the probes come from a product that the
/// lower bits change.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| {
        let place = (mixed >> (64 - 9 * (probe + 1))) & 511;
        ((place / 64) as usize, 1 << (place % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_passes_and_hardly_anything_else_does() {
        let hash = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
        let mut hashes: Vec<u64> = (0..48_000).map(hash).collect();
        hashes.sort_unstable();
        let blocks = block::blocks_for(48_000);
        let mut filter = Filter::with_room(blocks);
        for n in 0..blocks {
            filter.push_line(hashes.iter().copied().filter(|hash| block::of_hash(*hash, blocks) == n));
        }
        assert!(filter.is_for(blocks) && hashes.iter().all(|hash| filter.may_hold(*hash, blocks)));
        let passed = (48_000..148_000).filter(|n| filter.may_hold(hash(*n), blocks)).count();
        assert!(passed < 2_000, "{passed} of 100,000 that are not there pass");
        let mut again = Filter::default();
        again.push_part(&filter.to_bytes()).unwrap();
        assert_eq!(again.0, filter.0);
        assert!(again.push_part(&[1, 2, 3]).is_err());
    }
}
