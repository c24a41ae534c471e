//! Values of requests as clients give them, before they are known to be good.

use shoal_common::ids::{EntityId, IdKind};

use crate::error::{Parameter, QueryError};

/// An id that a client gave as a number or as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenId {
    /// From a path, a JSON string, or a gRPC text.
    Text(String),
    /// From a JSON number or a gRPC integer.
    Integer(i64),
    /// From a JSON number that is whole and beyond 64 bits: as it was written.
    LongNumber(String),
}

impl GivenId {
    /// The id of the kind that the data set has.
    ///
    /// # Errors
    /// When it cannot be one.
    pub(crate) fn resolve(&self, kind: IdKind, parameter: Parameter) -> Result<EntityId, QueryError> {
        match self {
            Self::Integer(value) if kind == IdKind::Integer => Ok(EntityId::Integer(*value)),
            Self::Integer(value) => Ok(EntityId::Text(value.to_string().into())),
            Self::Text(text) | Self::LongNumber(text) => {
                EntityId::parse(text, kind).map_err(|error| QueryError::invalid(parameter, error.to_string()))
            }
        }
    }
}

/// How many results a query may ask for.
#[derive(Debug, Clone, Copy)]
pub struct CountRange {
    pub(super) default: u32,
    pub(super) max: u32,
}

impl CountRange {
    /// `n`, or the default, if it is in range.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check(self, n: Option<i64>) -> Result<u32, QueryError> {
        let Some(n) = n else { return Ok(self.default) };
        let in_range = u32::try_from(n).ok().filter(|n| (1..=self.max).contains(n));
        in_range.ok_or_else(|| self.wrong(&n.to_string()))
    }

    /// What is said of a count that is not one.
    pub(crate) fn wrong(self, given: &str) -> QueryError {
        QueryError::invalid(
            Parameter::N,
            format!("it is {given}; it must be a whole number from 1 to {}", self.max),
        )
    }
}
