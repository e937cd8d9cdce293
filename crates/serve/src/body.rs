//! Bodies of requests.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

/// JSON of a body. What is not known in it is passed over: clients send what others understand.
pub struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|e| Problem::new(e.status(), e.body_text()))?;
        // A form is what a page elsewhere could send.
        if !is_json && !bytes.is_empty() {
            let why = "the body must be JSON, with Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        let wrong =
            |e: serde_json::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body: {e}"));
        serde_json::from_slice(text).map(Self).map_err(wrong)
    }
}
