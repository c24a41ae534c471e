//! Ratings and factor rows between workers.
