//! Recommendation by what items are: pure, slices in and values out.
//!
//! An item is known by four blocks of features: its genres (inverse document frequency), the tag genome
//! where there is one (Vig, Sen and Riedl 2012, "The Tag Genome"), the tags that users gave it (tf-idf)
//! and the decade of its release. Every block that an item has is brought to the length of its weight's
//! root, a block it has not is zero, and then the whole vector to length 1 ([`Vocabulary::vector`]). So
//! the cosine of two items that have every block is the weighted mean of their blocks' cosines, and an
//! item of which little is known is compared by what there is. An item without ratings is like any
//! other; one without features is like nothing.
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
pub use facts::{ItemFacts, clean_tag};
pub use vectors::{BadVectors, ItemVectors, Vector, VectorParts};
pub use vocabulary::{BlockWeights, Settings, Vocabulary};
