//! Door B: the ingest of an agent SDK, as in `reference/agent-sdk-ingest-events.md`.

mod refusal;

use utoipa_axum::router::OpenApiRouter;

use super::Gateway;

pub use refusal::Refusal;

/// The routes of door B.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
}
