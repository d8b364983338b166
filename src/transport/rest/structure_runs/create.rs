//! `POST /api/structures/{structure_id}/runs`: creates a run.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::ApiError;
use super::env_var::StructureEnvVar;
use super::error::{BodyRefusals, Refusals};
use super::request::{NoParameters, Variable, json, optional_object, renamed};
use super::response::StructureRun;
use super::schema::NewStructureRun;
use crate::domain::{Error, NewEvent, RunId, StructureId};
use crate::service::runs;
use crate::service::runs::CreateRun;
use crate::transport::rest::fields::Fields;
use crate::transport::rest::headers::one;
use crate::transport::rest::{Gateway, HttpError};

/// Create a run. The first event, `run.created`, makes the run QUEUED.
///
/// With an `Idempotency-Key`, a repeat with the same body returns the same run with 200; with another body, 409.
#[utoipa::path(post, path = "/api/structures/{structure_id}/runs", tag = "structure runs",
    operation_id = "create_structure_run",
    params(("structure_id" = String, Path, description = "The structure", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe", nullable = false,
            min_length = 1, max_length = 200, pattern = "^[!-~]+$")),
    request_body = Option<NewStructureRun>,
    responses((status = 201, description = "Created", body = StructureRun),
              (status = 200, description = "Created earlier with the same key", body = StructureRun),
              Refusals, BodyRefusals))]
pub async fn create_run(
    State(gateway): State<Gateway>,
    Variable(structure_id): Variable,
    _: NoParameters,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let structure_id = StructureId::parse(&structure_id)?;
    let idempotency_key = one(request.headers(), "Idempotency-Key")?;
    if idempotency_key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(HttpError::field("Idempotency-Key", "must be visible ASCII characters without space").into());
    }
    let text = optional_object(&gateway, request).await?;
    let create = CreateRun {
        run_id: idempotency_key.as_deref().map(|key| run_id_of(&structure_id, key)).transpose()?,
        idempotency_key,
        agent_name: None,
        structure_id: Some(structure_id),
        first_event: Some(created_event(&gateway, &text)?),
    };
    let (run, repeated) = gateway.service.create_run(create).await.map_err(refusal)?;
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    let run = StructureRun::of(&gateway.service, run).await.map_err(Error::after_commit)?;
    Ok((status, json(run.to_json()?)).into_response())
}

fn refusal(error: Error) -> ApiError {
    match error {
        Error::EventIdConflict { .. } | Error::RunExists { .. } => {
            let message = "this Idempotency-Key created a run with another body; use a new key for another run";
            let problem = HttpError::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_CONFLICT", message);
            HttpError { field: Some("Idempotency-Key".to_owned()), ..problem }.into()
        }
        other => renamed(other, "idempotency_key", "Idempotency-Key").into(),
    }
}

fn created_event(gateway: &Gateway, text: &str) -> Result<NewEvent, HttpError> {
    let mut fields = Fields::parse(text, "")?;
    let mut args = Vec::new();
    for (i, arg) in fields.array("args")?.unwrap_or_default().into_iter().enumerate() {
        let not_text = |_| HttpError::field(format!("args[{i}]"), "must be a string");
        args.push(serde_json::from_str::<String>(arg.get()).map_err(not_text)?);
    }
    let mut env_vars = Vec::new();
    for (i, variable) in fields.array("env_vars")?.unwrap_or_default().into_iter().enumerate() {
        env_vars.push(StructureEnvVar::parse(variable, format!("env_vars[{i}]"))?.masked());
    }
    fields.finish()?;
    let payload = json!({ "args": args, "env_vars": env_vars }).to_string();
    Ok(runs::created_event(payload, gateway.service.limits()).map_err(|error| error.under("body"))?)
}

/// Run id of a key. The structure id is part of the hash, so that structures do not share keys.
fn run_id_of(structure_id: &StructureId, key: &str) -> Result<RunId, Error> {
    let digest = Sha256::new().chain_update(structure_id.as_str()).chain_update([0]).chain_update(key).finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    RunId::parse(&format!("run_{hex}"))
}
