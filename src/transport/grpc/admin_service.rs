//! `runlog.v1.AdminService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use tonic::{Request, Response, Status};

use crate::domain::Result;
use crate::pb;
use crate::pb::backup_response::Part;
use crate::service::Service;
use crate::service::backup::{Backup, BackupProject};
use crate::transport::caller::called;
use crate::transport::memory::Call;
use crate::transport::status;

/// Largest chunk of a backup, bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Handler of the calls to `runlog.v1.AdminService`.
#[derive(Clone)]
pub struct AdminHandler {
    service: Service,
}

impl AdminHandler {
    /// A handler that calls this service.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

/// Parts of a backup.
type Parts = Pin<Box<dyn Stream<Item = Result<pb::BackupResponse, Status>> + Send>>;

#[tonic::async_trait]
impl pb::admin_service_server::AdminService for AdminHandler {
    type BackupStream = Parts;

    async fn backup(&self, request: Request<pb::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let call = request.extensions().get::<Arc<Call>>().cloned();
        let backup = called(&self.service, request.extensions()).begin_backup().await;
        let backup = backup.map_err(|error| status::from_error(&error))?;
        Ok(Response::new(parts(backup, call)))
    }
}

/// What of a backup comes next.
enum Next {
    Header(Backup),
    Chunks(Backup),
    Nothing,
}

/// The header, which comes with the copy, the chunks and the trailer.
fn parts(backup: Backup, call: Option<Arc<Call>>) -> Parts {
    Box::pin(unfold(Next::Header(backup), move |next| {
        let call = call.clone();
        async move {
            let (part, next) = match next {
                Next::Header(mut backup) => (header(&mut backup).await, Next::Chunks(backup)),
                Next::Chunks(mut backup) if backup.next_bytes(CHUNK_BYTES) > 0 => {
                    (chunk(&mut backup, call).await, Next::Chunks(backup))
                }
                Next::Chunks(backup) => (Ok(trailer(backup)), Next::Nothing),
                Next::Nothing => return None,
            };
            Some(match part {
                Ok(part) => (Ok(pb::BackupResponse { part: Some(part) }), next),
                Err(error) => (Err(status::from_error(&error)), Next::Nothing),
            })
        }
    }))
}

async fn header(backup: &mut Backup) -> Result<Part> {
    let facts = backup.make().await?;
    let events = facts.events();
    let project = |project: BackupProject| pb::BackupProject {
        project: project.id.to_string(),
        position: project.position,
        cursor: project.cursor,
    };
    Ok(Part::Header(pb::BackupHeader {
        kind: facts.kind.to_owned(),
        schema_version: facts.schema_version,
        bytes: facts.bytes,
        events,
        projects: facts.projects.into_iter().map(project).collect(),
    }))
}

/// The next chunk. Its memory is charged before it is read, so that a slow reader holds one chunk at most.
async fn chunk(backup: &mut Backup, call: Option<Arc<Call>>) -> Result<Part> {
    if let Some(call) = call {
        let room = tokio::select! {
            biased;
            room = call.room(backup.next_bytes(CHUNK_BYTES)) => room,
            end = backup.closed() => return Err(end),
        };
        let chunk = backup.chunk(CHUNK_BYTES).await?;
        call.prepay(room);
        return Ok(Part::Chunk(chunk));
    }
    backup.chunk(CHUNK_BYTES).await.map(Part::Chunk)
}

fn trailer(backup: Backup) -> Part {
    let sum = backup.finish();
    Part::Trailer(pb::BackupTrailer { sha256: sum.sha256, bytes: sum.bytes })
}
