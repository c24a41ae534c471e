//! The wire contract between Shoal's roles and its clients: generated messages and services, the [`codec`] that weighs
//! requests before it decodes them, and nothing else. The `.proto` files under `proto/shoal/v1` are the reference; what
//! a field means is said there.

pub mod codec;

/// Everything of package `shoal.v1`.
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("shoal.v1");
}

/// The encoded descriptors of every file, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shoal_descriptor.bin"));

/// The descriptors of the service that clients call, for reflection: nothing of what nodes say to each other.
pub const PUBLIC_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptor.bin"));
