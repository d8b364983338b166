//! `runlog.v1.KeyService`.

use tonic::{Request, Response, Status};

use crate::domain::access::Key;
use crate::domain::{Error, KeyId, KeyScope, KeyScopes, ProjectId, Result};
use crate::pb;
use crate::service::Service;
use crate::service::access::{CallerDescription, CreateKey, ListKeys, RotateKey};
use crate::transport::caller::called;
use crate::transport::{convert, status};

/// Handler of the calls to `runlog.v1.KeyService`.
#[derive(Clone)]
pub struct KeyHandler {
    service: Service,
}

impl KeyHandler {
    /// A handler that calls this service.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl pb::key_service_server::KeyService for KeyHandler {
    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let described = called(&self.service, request.extensions()).describe_caller();
        described.map(|caller| Response::new(described_caller(caller))).map_err(|error| status::from_error(&error))
    }

    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Result<Response<pb::CreateKeyResponse>, Status> {
        let created = create(&called(&self.service, request.extensions()), request.into_inner()).await;
        created.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn list_keys(&self, request: Request<pb::ListKeysRequest>) -> Result<Response<pb::ListKeysResponse>, Status> {
        let page = list(&called(&self.service, request.extensions()), request.into_inner()).await;
        page.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let revoked = revoke(&called(&self.service, request.extensions()), request.get_ref()).await;
        revoked.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let rotated = rotate(&called(&self.service, request.extensions()), request.into_inner()).await;
        rotated.map(Response::new).map_err(|error| status::from_error(&error))
    }
}

fn described_caller(caller: CallerDescription) -> pb::GetCallerResponse {
    pb::GetCallerResponse {
        key_id: caller.key_id.map(|key_id| key_id.to_string()).unwrap_or_default(),
        project: caller.project.to_string(),
        scopes: caller.scopes.iter().map(|scope| scope.to_string()).collect(),
        expires_at: caller.expires_at.map(convert::instant),
    }
}

async fn create(service: &Service, request: pb::CreateKeyRequest) -> Result<pb::CreateKeyResponse> {
    let create = CreateKey {
        name: request.name,
        project: convert::optional(&request.project, ProjectId::parse)?,
        scopes: scopes(&request.scopes)?,
        expires_in: request.expires_in.map(|time| convert::duration("expires_in", time)).transpose()?,
    };
    let issued = service.create_key(create).await?;
    Ok(pb::CreateKeyResponse { secret_key: issued.credential.expose(), key: Some(key(issued.key)) })
}

async fn list(service: &Service, request: pb::ListKeysRequest) -> Result<pb::ListKeysResponse> {
    let list = ListKeys { page_size: convert::page_size(request.page_size)?, cursor: request.cursor };
    let page = service.list_keys(list).await?;
    let has_more = !page.next_cursor.is_empty();
    let keys = page.keys.into_iter().map(key).collect();
    Ok(pb::ListKeysResponse { keys, next_cursor: page.next_cursor, has_more })
}

async fn revoke(service: &Service, request: &pb::RevokeKeyRequest) -> Result<pb::RevokeKeyResponse> {
    let revoked = service.revoke_key(&KeyId::parse(&request.key_id)?).await?;
    Ok(pb::RevokeKeyResponse { key: Some(key(revoked)) })
}

async fn rotate(service: &Service, request: pb::RotateKeyRequest) -> Result<pb::RotateKeyResponse> {
    let rotate = RotateKey {
        key_id: KeyId::parse(&request.key_id)?,
        overlap: request.overlap.map(|time| convert::duration("overlap", time)).transpose()?,
        expires_in: request.expires_in.map(|time| convert::duration("expires_in", time)).transpose()?,
    };
    let (replaced, issued) = service.rotate_key(rotate).await?;
    Ok(pb::RotateKeyResponse {
        secret_key: issued.credential.expose(),
        key: Some(key(issued.key)),
        replaced: Some(key(replaced)),
    })
}

fn scopes(names: &[String]) -> Result<KeyScopes> {
    let scope = |(i, name): (usize, &String)| {
        name.parse::<KeyScope>().map_err(|error: Error| error.with_field(format!("scopes[{i}]")))
    };
    names.iter().enumerate().map(scope).collect()
}

fn key(key: Key) -> pb::Key {
    pb::Key {
        key_id: key.key_id.to_string(),
        project: key.project.to_string(),
        name: key.name,
        scopes: key.scopes.iter().map(|scope| scope.to_string()).collect(),
        created_at: Some(convert::instant(key.created_at)),
        expires_at: key.expires_at.map(convert::instant),
        revoked_at: key.revoked_at.map(convert::instant),
        last_used_at: key.last_used_at.map(convert::instant),
    }
}
