//! Runs as events of the AG-UI protocol, for programs that show agents, such as those made with `@ag-ui/client`.
//!
//! Choices beyond the protocol: every connection begins with RUN_STARTED and with the start of what is open at its cursor; the
//! thread of a run is the run itself; the last event of a stored event has the `id:` and holds the stored event; what comes after the
//! end of the run is left out, since the protocol allows nothing there. Errors have the shape of the public runs API.
//!
//! | file | contents |
//! |---|---|
//! | `read` | the stream of a run |
//! | `stream` | frames of the stream |
//! | `translation` | stored events to AG-UI events |

mod read;
mod stream;
mod translation;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gateway::Gateway;

#[derive(OpenApi)]
#[openapi(tags((name = "AG-UI", description = "Runs as events of the AG-UI protocol.")))]
struct Description;

/// Routes of the AG-UI API.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Description::openapi()).routes(routes!(read::follow))
}
