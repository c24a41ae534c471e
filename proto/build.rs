//! Generates the message and service types with a pure-Rust compiler: no protoc on the machine.

mod build_shapes;

use std::{env, fs, path::PathBuf};

const FILES: [&str; 6] = [
    "shoal/v1/types.proto",
    "shoal/v1/coordinator.proto",
    "shoal/v1/state.proto",
    "shoal/v1/raft.proto",
    "shoal/v1/worker.proto",
    "shoal/v1/recommender.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    fs::write(out.join("shoal_descriptor.bin"), prost::Message::encode_to_vec(&descriptors))?;
    fs::write(out.join("shapes.rs"), build_shapes::of(&descriptors)?)?;
    let mut config = tonic_prost_build::Config::new();
    // So that a message can be looked up in its descriptor, and by its shape.
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
