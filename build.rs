//! Compiles `proto/` to the Rust types of `src/pb` and to the descriptor set that gRPC reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

const SERVICES: [&str; 4] = [
    "runlog/v1/admin_service.proto",
    "runlog/v1/event_service.proto",
    "runlog/v1/key_service.proto",
    "runlog/v1/run_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        // Comments become the documentation of the generated types.
        .include_source_info(true)
        .open_files(SERVICES)?;

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("runlog_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    let mut config = tonic_prost_build::configure();
    // Most payloads are `json`. Without boxes every event would be as large as the largest variant.
    for variant in typed_variants(&compiler) {
        config = config.boxed(format!(".runlog.v1.Payload.variant.{variant}"));
    }
    config
        .build_client(true)
        .build_server(true)
        .codec_path("crate::pb::codec::SmallBuffers")
        // Hand-written: contains encoded events.
        .extern_path(".runlog.v1.EventBatch", "crate::pb::EventBatch")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Names of the variants of `Payload` that are messages.
fn typed_variants(compiler: &protox::Compiler) -> Vec<String> {
    let payload = compiler.descriptor_pool().get_message_by_name("runlog.v1.Payload");
    let fields = payload.iter().flat_map(|payload| payload.fields()).collect::<Vec<_>>();
    let typed =
        fields.into_iter().filter(|field| field.containing_oneof().is_some() && field.kind().as_message().is_some());
    typed.map(|field| field.name().to_owned()).collect()
}
