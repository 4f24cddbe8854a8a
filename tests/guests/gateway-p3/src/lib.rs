//! Passes each request on to what is linked, and gives back what that answers.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Request, Response};

struct Gateway;

wasip3::http::service::export!(Gateway);

impl Guest for Gateway {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        wasip3::http::client::send(request).await
    }
}
