//! Recommendation by what items are: pure, slices in and values out.
//!
//! An item is known by four blocks of features: its genres (inverse document frequency), the tag genome
//! where there is one (Vig, Sen and Riedl 2012, "The Tag Genome"), the tags that users gave it (tf-idf)
//! and the decade of its release. Every block is brought to the length of its weight's root, the weights
//! being 1 together ([`Vocabulary::vector`]), so the product of two vectors is the weighted mean of their
//! blocks' cosines. A block that an item lacks has the cosine 0 with every other. So two items that share
//! tags come out more alike than two that share genres if one of these has no tags. Ratings do not matter;
//! an item without features has the cosine 0 with every item.
//!
//! What vectors depend on of the whole catalogue is counted first ([`Census`]); counts are integers, so it
//! does not matter who counted what. Similar items are found exactly, some items against a shard at a time
//! ([`similar`]); users are compared with items through their [`profile`].

mod census;
mod facts;
pub mod profile;
pub mod similar;
mod vectors;
mod vocabulary;

pub use census::{Census, GenomeSums};
pub use facts::{GenomeFacts, ItemFacts, clean_tag};
pub use vectors::{BadVectors, ItemVectors, Vector, VectorParts};
pub use vocabulary::{BlockWeights, Settings, Vocabulary};
