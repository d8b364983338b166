//! The bytes of a backup: from a server, or from a file without its server.

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use tonic::{Request, Streaming};

use super::checks::{failure, hex, sha256};
use super::partial::{Partial, failed};
use crate::cli::client::ClientArgs;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::progress::{bar, shown};
use crate::cli::output::text::grouped;
use crate::pb;
use crate::pb::admin_service_client::AdminServiceClient;
use crate::pb::backup_response::Part;
use crate::server::backup::copy_file;

/// Number of events and SHA-256 that the source names, before the file is checked.
pub struct Copied {
    pub events: u64,
    pub sha256: String,
}

/// Copies the store of a server.
pub async fn of_server(client: &ClientArgs, partial: &Partial) -> Result<Copied, Failure> {
    let mut admin = AdminServiceClient::new(client.connect().await?);
    // No deadline of the call: it takes as long as the store is large. Pings notice a server that is gone.
    let begun = client.answer(admin.backup(Request::new(pb::BackupRequest {}))).await;
    let mut parts = begun.map_err(|status| Failure::of_status(&status))?;
    // The copy is made before the first part comes.
    let first = shown("the server copies its store", next(&mut parts)).await?;
    let Some(Part::Header(header)) = first else {
        return Err(broken("a backup begins with a header"));
    };
    let bar = bar(Some(header.bytes));
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let trailer = loop {
        match next(&mut parts).await? {
            Some(Part::Chunk(chunk)) => {
                (&partial.file).write_all(&chunk).map_err(|error| failed(partial.path(), &error))?;
                hash.update(&chunk);
                bytes += chunk.len() as u64;
                bar.set_position(bytes);
                bar.set_message(format!("{} of {} MiB", grouped(bytes >> 20), grouped(header.bytes >> 20)));
            }
            Some(Part::Trailer(trailer)) => break trailer,
            Some(Part::Header(_)) => return Err(broken("a second header")),
            None => return Err(broken("it broke off before its trailer")),
        }
    };
    bar.finish_and_clear();
    if (bytes, bytes, hex(hash)) != (header.bytes, trailer.bytes, trailer.sha256.clone()) {
        return Err(broken("its bytes are not those that the server sent"));
    }
    Ok(Copied { events: header.events, sha256: trailer.sha256 })
}

async fn next(parts: &mut Streaming<pb::BackupResponse>) -> Result<Option<Part>, Failure> {
    match parts.message().await {
        Ok(Some(pb::BackupResponse { part: Some(part) })) => Ok(Some(part)),
        Ok(Some(pb::BackupResponse { part: None })) => Err(broken("a part of a later version")),
        Ok(None) => Ok(None),
        Err(status) => Err(Failure::of_status(&status)),
    }
}

fn broken(problem: &str) -> Failure {
    Failure::new(Exit::Protocol, format!("the backup of the server: {problem}"))
}

/// Copies a file, which a server may serve.
pub async fn of_file(data: &Path, partial: &Partial) -> Result<Copied, Failure> {
    let copied = shown("copies the file", copy_file(data, partial.path())).await.map_err(|error| failure(&error))?;
    Ok(Copied { events: copied.events(), sha256: sha256(partial.path())? })
}
