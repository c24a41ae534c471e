//! Serving from a store that is only read, by one process: coordinator, worker and router in one, which call each other
//! without sockets.
//!
//! [`Wanted`] says which versions are to be live, [`Library`] makes them so in the process's own registry, [`Roles`] runs
//! the roles. The registry is made anew at every start: what is served follows from the store alone.

mod library;
mod roles;
mod wanted;

pub use library::{Library, LibraryError, Live};
pub use roles::{Doors, Roles, RolesError};
pub use wanted::{Found, SaidBy, Wanted, WantedError};
