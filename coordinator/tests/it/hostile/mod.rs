//! What comes over a coordinator's socket, or stands in its registry, and was written by somebody who means harm.

mod jobs;
mod nodes;
mod registry;
