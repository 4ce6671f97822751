//! Compiles the protocol of EventStoreDB for its double, which only tests have.
//!
//! **Invariant:** without the feature `testing` nothing is compiled, and no `protoc` is needed with it.

#[cfg(feature = "testing")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FOLDER: &str = "protos/eventstore";
    println!("cargo::rerun-if-changed={FOLDER}");
    let files = ["streams.proto", "serverfeatures.proto", "gossip.proto"];
    let described = protox::compile(files, [FOLDER])?;
    tonic_build::configure()
        .build_client(false)
        .bytes(["."])
        .compile_well_known_types(true)
        .include_file("eventstore.rs")
        .compile_fds(described)?;
    Ok(())
}

#[cfg(not(feature = "testing"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
