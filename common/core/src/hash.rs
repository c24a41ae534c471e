//! The hashes that decide things: which shard owns an id, which pairs are held out, how factors
//! start. They are part of the file format and of reproducibility, so they never change.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The xxh3-64 of the bytes, without a seed.
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

/// Stands where the hash of an item would: so a user is held out by another number than decides of a pair, and than
/// chooses a sample of the users.
const WHOLE_USER: u64 = 0x7374_726f_6e67_0001;

/// Whether the user with this hash of the id belongs to the share that is held out entirely. The users of a smaller share
/// are among those of a larger one.
#[must_use]
pub fn is_held_out_user(user_hash: u64, share: f64, seed: u64) -> bool {
    unit_interval(pair_hash(user_hash, WHOLE_USER, seed)) < share
}

/// xxh3-128 of bytes as 32 lower-case hexadecimal digits, as manifests have it.
#[must_use]
pub fn checksum_hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// xxh3-128 of bytes, its most significant byte first.
#[must_use]
pub fn checksum_bytes(bytes: &[u8]) -> [u8; 16] {
    xxh3_128(bytes).to_be_bytes()
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
    fn held_out_users_are_a_share_whatever_else_is_drawn_by_the_seed() {
        let users: Vec<u64> = (0..20_000).map(mix64).collect();
        let held_out = |share, seed| users.iter().filter(move |user| is_held_out_user(**user, share, seed));
        let tenth = held_out(0.1, 7).count();
        assert!((1_800..=2_200).contains(&tenth), "{tenth} of 20,000");
        assert!(held_out(0.1, 7).all(|user| is_held_out_user(*user, 0.2, 7)));
        // Half of them are of the half that a sample of the same seed has.
        let sampled = held_out(0.1, 7).filter(|user| unit_interval(mix64(**user ^ mix64(7))) < 0.5).count();
        assert!((850..=1_150).contains(&sampled), "{sampled} of {tenth}");
        assert!(!held_out(0.1, 7).eq(held_out(0.1, 8)));
    }

    #[test]
    fn pair_hash_depends_on_every_part() {
        let base = pair_hash(1, 2, 3);
        assert_ne!(base, pair_hash(2, 1, 3));
        assert_ne!(base, pair_hash(1, 2, 4));
    }
}
