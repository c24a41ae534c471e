//! Metadata as records, and what has changed from one state of it to another.
//!
//! Protobuf writes a message as a sequence of records: one for each field, and one for each element of a repeated field.
//! Whoever leads keeps them as they are on the wire, and so does whoever watches. A change is the checksums of the records
//! that are gone and the bytes of those that are new, so a field that a later release adds needs nothing here, and is kept
//! by a watcher that does not know it.
//!
//! A change says which revision it goes on from and the checksum of what it leads to. A watcher that finds another begins
//! anew, and is sent everything.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes};
use prost::{
    Message as _,
    encoding::{WireType, decode_key, decode_varint},
};
use shoal_core::hash::checksum_bytes;
use shoal_proto::v1::{Metadata, MetadataChange};

/// Records of metadata: a thousand nodes, what each has loaded, and what is served are far fewer.
const RECORDS_MAX: usize = 1 << 17;

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 16;

type Checksum = [u8; CHECKSUM_BYTES];

/// A change that does not go on from what is known. Following from the beginning mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataGap {
    /// A change in between was not seen.
    #[error(
        "a change goes on from revision {base} of term {term}, and revision {known} of term {known_term} is known"
    )]
    Base {
        /// The revision that the change goes on from.
        base: u64,
        /// The leader's term.
        term: u64,
        /// The last revision that was seen.
        known: u64,
        /// The term of that revision.
        known_term: u64,
    },
    /// What the change leads to is not what the leader has.
    #[error("revision {revision} is not what the leader has: {reason}")]
    Content {
        /// The revision that the change leads to.
        revision: u64,
        /// How it differs.
        reason: &'static str,
    },
}

/// What metadata says, but for whose it is and its revision: each record by its checksum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataRecords(BTreeMap<Checksum, Bytes>);

impl MetadataRecords {
    /// The records of the metadata. `None` where two of them are alike, which no checksum tells apart.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let content = Metadata {
            cluster_id: String::new(),
            leader_term: 0,
            revision: 0,
            change: None,
            ..metadata.clone()
        };
        let records = split(content.encode_to_vec().into())?;
        let count = records.len();
        let records: BTreeMap<Checksum, Bytes> = records.into_iter().map(with_checksum).collect();
        (records.len() == count).then_some(Self(records))
    }

    /// Everything, as a change that goes on from nothing.
    #[must_use]
    pub fn whole(&self) -> MetadataChange {
        MetadataChange { whole: true, ..self.since(&Self::default(), 0) }
    }

    /// What has changed since `before`, which was revision `base`.
    #[must_use]
    pub fn since(&self, before: &Self, base: u64) -> MetadataChange {
        let gone = before.0.keys().filter(|checksum| !self.0.contains_key(*checksum));
        let new = self.0.iter().filter(|(checksum, _)| !before.0.contains_key(*checksum));
        MetadataChange {
            whole: false,
            base_revision: base,
            gone: gone.copied().collect::<Vec<_>>().concat().into(),
            added: new.map(|(_, record)| &record[..]).collect::<Vec<_>>().concat().into(),
            checksum: self.checksum().to_vec().into(),
        }
    }

    /// Of everything.
    fn checksum(&self) -> Checksum {
        checksum_bytes(&self.0.keys().copied().collect::<Vec<_>>().concat())
    }

    /// Takes a change up, or leaves everything as it was.
    fn change(&mut self, change: &MetadataChange) -> Result<(), &'static str> {
        let mut records = if change.whole { BTreeMap::new() } else { self.0.clone() };
        let (gone, rest) = change.gone.as_chunks::<CHECKSUM_BYTES>();
        if !rest.is_empty() {
            return Err("a checksum is cut short");
        }
        if !gone.iter().all(|checksum| records.remove(checksum).is_some()) {
            return Err("what is gone was not known");
        }
        let added = split(change.added.clone()).ok_or("what is new cannot be read")?;
        records.extend(added.into_iter().map(with_checksum));
        let changed = Self(records);
        if changed.checksum()[..] != change.checksum[..] {
            return Err("its checksum is another");
        }
        *self = changed;
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata, &'static str> {
        let bytes = self.0.values().map(|record| &record[..]).collect::<Vec<_>>().concat();
        let mut metadata = Metadata::decode(&bytes[..]).map_err(|_| "it cannot be read")?;
        put_in_order(&mut metadata);
        Ok(metadata)
    }
}

/// Bytes of the metadata as it is sent whole.
#[must_use]
pub fn encoded_bytes(metadata: &Metadata) -> usize {
    metadata.encoded_len()
}

/// Puts what metadata lists in the order of its names: records have none.
pub fn put_in_order(metadata: &mut Metadata) {
    metadata.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    metadata.versions.sort_by(|a, b| a.name.cmp(&b.name));
    metadata.components.sort_by(|a, b| a.name.cmp(&b.name));
    metadata.served.sort_by(|a, b| a.model.cmp(&b.model));
    metadata.tokens.sort_by(|a, b| a.id.cmp(&b.id));
    metadata.datasets.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    metadata
        .placements
        .sort_by(|a, b| (&a.dataset_name, &a.dataset_version).cmp(&(&b.dataset_name, &b.dataset_version)));
}

/// Follows one stream of metadata, whether it comes whole each time or as changes.
#[derive(Debug, Default)]
pub struct MetadataFollower {
    /// What is known, from the first change on.
    known: MetadataRecords,
    /// Term and revision of it.
    at: (u64, u64),
}

impl MetadataFollower {
    /// The whole metadata after a message of the stream.
    ///
    /// # Errors
    /// When it cannot be told: then the stream has to be begun anew.
    pub fn take(&mut self, message: Metadata) -> Result<Metadata, MetadataGap> {
        let Some(change) = &message.change else { return Ok(message) };
        let (term, revision) = (message.leader_term, message.revision);
        if !change.whole && (term, change.base_revision) != self.at {
            let (known_term, known) = self.at;
            return Err(MetadataGap::Base { base: change.base_revision, term, known, known_term });
        }
        let differs = |reason| MetadataGap::Content { revision, reason };
        self.known.change(change).map_err(differs)?;
        self.at = (term, revision);
        let content = self.known.metadata().map_err(differs)?;
        Ok(Metadata { cluster_id: message.cluster_id, leader_term: term, revision, ..content })
    }
}

fn with_checksum(record: Bytes) -> (Checksum, Bytes) {
    (checksum_bytes(&record), record)
}

/// The records of a message, one after the other; `None` where it is no message.
fn split(mut bytes: Bytes) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let mut rest = bytes.clone();
        let (_, kind) = decode_key(&mut rest).ok()?;
        let length = match kind {
            WireType::Varint => {
                decode_varint(&mut rest).ok()?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut rest).ok()?).ok()?,
            // No message here has groups.
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let end = (bytes.len() - rest.remaining()).checked_add(length).filter(|end| *end <= bytes.len())?;
        if records.len() == RECORDS_MAX {
            return None;
        }
        // A copy: what is kept must not hold on to all that came with it.
        records.push(Bytes::copy_from_slice(&bytes.split_to(end)));
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ModelVersion, NodeInfo};

    use super::*;

    fn metadata(revision: u64, nodes: &[&str]) -> Metadata {
        let node = |name: &&str| NodeInfo { name: (*name).to_owned(), threads: 2, ..NodeInfo::default() };
        let nodes = nodes.iter().map(node).collect();
        let versions =
            vec![ModelVersion { name: "v".to_owned(), rating_mean: 3.5, ..ModelVersion::default() }];
        let cluster_id = "c".to_owned();
        Metadata { cluster_id, leader_term: 3, revision, nodes, versions, ..Metadata::default() }
    }

    fn sent(now: &Metadata, change: MetadataChange) -> Metadata {
        let Metadata { cluster_id, leader_term, revision, .. } = now.clone();
        Metadata { cluster_id, leader_term, revision, change: Some(change), ..Metadata::default() }
    }

    #[test]
    fn a_change_has_what_is_new_and_leads_to_the_whole() {
        let (first, second) = (metadata(1, &["a", "b", "c"]), metadata(2, &["a", "c", "d"]));
        let [then, now] = [&first, &second].map(|metadata| MetadataRecords::of(metadata).unwrap());
        let change = now.since(&then, 1);
        assert_eq!(change.gone.len(), 16);
        assert!(change.encoded_len() < 80, "{change:?}");
        let mut follower = MetadataFollower::default();
        assert_eq!(follower.take(sent(&first, then.whole())), Ok(first));
        assert_eq!(follower.take(sent(&second, change)), Ok(second.clone()));
        // A release that does not know of changes sends everything.
        assert_eq!(follower.take(second.clone()), Ok(second));
    }

    #[test]
    fn what_does_not_fit_is_no_metadata_and_a_new_beginning_mends_it() {
        let (first, second) = (metadata(1, &["a", "b"]), metadata(2, &["a", "c"]));
        let [then, now] = [&first, &second].map(|metadata| MetadataRecords::of(metadata).unwrap());
        let good = now.since(&then, 1);
        let changed = |change: fn(&mut MetadataChange)| {
            let mut bad = good.clone();
            change(&mut bad);
            sent(&second, bad)
        };
        let later = |term| Metadata { leader_term: term, ..sent(&second, good.clone()) };
        for bad in [
            changed(|change| change.base_revision = 0),
            later(4),
            changed(|change| change.gone = vec![7; 16].into()),
            changed(|change| change.gone = vec![7; 15].into()),
            changed(|change| change.gone = Bytes::new()),
            changed(|change| change.added = Bytes::new()),
            changed(|change| change.added = change.added.slice(1..)),
            changed(|change| change.checksum = vec![7; 16].into()),
            changed(|change| change.checksum = Bytes::new()),
        ] {
            let mut follower = MetadataFollower::default();
            follower.take(sent(&first, then.whole())).unwrap();
            assert!(follower.take(bad.clone()).is_err(), "{bad:?}");
            assert_eq!(follower.take(sent(&second, now.whole())), Ok(second.clone()));
        }
        // A stream begins with everything.
        assert!(MetadataFollower::default().take(sent(&second, good)).is_err());
    }

    #[test]
    fn what_a_later_release_adds_is_kept_and_does_no_harm() {
        let (first, second) = (metadata(1, &["a"]), metadata(2, &["b"]));
        // Field 200 of a length of one byte.
        let unknown = Bytes::from_static(&[0xc2, 0x0c, 1, 7]);
        let with_unknown = |metadata: &Metadata| {
            let MetadataRecords(mut records) = MetadataRecords::of(metadata).unwrap();
            let (checksum, record) = with_checksum(unknown.clone());
            records.insert(checksum, record);
            MetadataRecords(records)
        };
        let (then, now) = (with_unknown(&first), with_unknown(&second));
        let mut follower = MetadataFollower::default();
        assert_eq!(follower.take(sent(&first, then.whole())), Ok(first));
        assert_eq!(follower.take(sent(&second, now.since(&then, 1))), Ok(second));
    }

    #[test]
    fn two_that_are_alike_are_sent_whole() {
        assert_eq!(MetadataRecords::of(&metadata(1, &["a", "a"])), None);
    }
}
