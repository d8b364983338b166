//! Door C: public run events, as in `reference/public-run-events.md`.

mod refusal;

use utoipa_axum::router::OpenApiRouter;

use super::Gateway;

pub use refusal::Refusal;

/// The routes of door C.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
}
