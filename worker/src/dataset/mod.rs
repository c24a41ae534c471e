//! Data sets: what files a source has ([`source`]), how their lines become rows ([`parse`], [`row`], [`values`]), how
//! rows become blocks ([`ingest`]), the blocks themselves ([`blocks`]), the catalogue of items
//! ([`catalogue`]), their tags ([`tags`]) and their genome ([`genome`]). [`generate`] makes MovieLens-shaped files.

pub mod blocks;
pub mod catalogue;
pub mod fields;
pub mod generate;
pub mod genome;
pub mod ingest;
pub mod parse;
pub mod row;
pub mod source;
mod table;
pub mod tags;
pub mod values;
