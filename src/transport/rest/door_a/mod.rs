//! Door A: structure runs, as in `reference/griptape-structure-run-events.md`.

mod refusal;

use utoipa_axum::router::OpenApiRouter;

use super::Gateway;

pub use refusal::Refusal;

/// The routes of door A.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
}
