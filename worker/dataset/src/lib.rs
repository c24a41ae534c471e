//! The files that people bring: what files a source has ([`source`]), how their lines become rows ([`parse`],
//! [`values`]), the catalogue of items ([`catalogue`]), their tags ([`tags`]) and their genome ([`genome`]).
//! [`generate`] makes files of MovieLens's shape.
//!
//! Nothing here knows a worker or a job: rows leave as [`shoal_format::row`]s.

pub mod catalogue;
pub mod fields;
pub mod generate;
pub mod genome;
mod movielens;
pub mod parse;
pub mod rejection;
pub mod source;
mod table;
pub mod tags;
pub mod values;
