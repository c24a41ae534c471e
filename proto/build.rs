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

/// The file of the service that clients call: reflection tells of it, and of what it imports, alone.
const PUBLIC_FILE: &str = "shoal/v1/recommender.proto";

/// A file and all that it imports.
fn with_imports(all: &prost_types::FileDescriptorSet, file: &str) -> prost_types::FileDescriptorSet {
    let mut wanted = vec![file.to_owned()];
    let mut at = 0;
    while let Some(name) = wanted.get(at).cloned() {
        let imports = all.file.iter().filter(|file| file.name() == name).flat_map(|file| &file.dependency);
        let new: Vec<String> = imports.filter(|import| !wanted.contains(import)).cloned().collect();
        wanted.extend(new);
        at += 1;
    }
    let file = all.file.iter().filter(|file| wanted.iter().any(|name| name == file.name()));
    prost_types::FileDescriptorSet { file: file.cloned().collect() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    fs::write(out.join("shoal_descriptor.bin"), prost::Message::encode_to_vec(&descriptors))?;
    fs::write(out.join("shapes.rs"), build_shapes::of(&descriptors)?)?;
    let public = with_imports(&descriptors, PUBLIC_FILE);
    fs::write(out.join("public_descriptor.bin"), prost::Message::encode_to_vec(&public))?;
    let mut config = tonic_prost_build::Config::new();
    // So that a message can be looked up in its descriptor, and by its shape.
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
