//! The hashes that decide things: which shard owns an id, which pairs are held out, how factors
//! start. They are part of the file format and of reproducibility, so they never change.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// xxh3-64 of bytes.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// xxh3-64 of the eight little-endian bytes of an integer id.
#[must_use]
pub fn hash_integer(value: i64) -> u64 {
    xxh3_64(&value.to_le_bytes())
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection that scatters every bit.
#[must_use]
pub const fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of a (user, item) pair and a seed, from the hashes of the two ids. Not symmetric.
#[must_use]
pub const fn pair_hash(user_hash: u64, item_hash: u64, seed: u64) -> u64 {
    mix64(mix64(user_hash ^ mix64(seed)) ^ item_hash)
}

/// The hash as a number in [0, 1), from its upper 53 bits.
#[must_use]
pub fn unit_interval(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether the pair with this hash belongs to the held-out share `test_ratio`.
#[must_use]
pub fn is_held_out(pair_hash: u64, test_ratio: f64) -> bool {
    unit_interval(pair_hash) < test_ratio
}

/// xxh3-128 of bytes as 32 lower-case hexadecimal digits, as manifests have it.
#[must_use]
pub fn checksum_hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_share_is_close_to_the_ratio() {
        let held_out =
            (0..10_000_u64).filter(|&n| is_held_out(pair_hash(mix64(n), mix64(n * 7 + 1), 42), 0.2)).count();
        assert!((1_850..=2_150).contains(&held_out), "{held_out} of 10,000");
    }

    #[test]
    fn pair_hash_depends_on_every_part() {
        let base = pair_hash(1, 2, 3);
        assert_ne!(base, pair_hash(2, 1, 3));
        assert_ne!(base, pair_hash(1, 2, 4));
    }
}
