//! What a request is answered with where it cannot be honoured, in the words of the API that was asked.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calotype::Kind;
use calotype_worker::Failure;
use serde_json::json;

/// One line that says what is wrong and what to do, and how HTTP calls it.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub why: String,
    /// The field at fault, where there is one.
    pub field: Option<&'static str>,
}

/// How long a client had better wait for a place, in seconds.
const WAIT: &str = "10";

impl Problem {
    pub fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), field: None }
    }

    /// What was asked for cannot be.
    pub fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// The same, by the fault of a field; `why` names it.
    pub fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::bad(why) }
    }

    /// Nothing answers there.
    pub fn unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// As many wait as may.
    pub fn full(waiting: usize) -> Self {
        let why = format!("{waiting} jobs wait already: try again in {WAIT} seconds");
        Self::new(StatusCode::TOO_MANY_REQUESTS, why)
    }

    /// As AUTOMATIC1111's server says it (modules/api/api.py, `handle_exception`).
    pub fn as_sdapi(&self) -> Response {
        let body = json!({"error": "HTTPException", "detail": self.why, "body": "", "errors": self.why});
        self.headed((self.status, Json(body)).into_response())
    }

    /// As OpenAI's does.
    pub fn as_openai(&self) -> Response {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        let error = json!({"message": self.why, "type": kind, "param": self.field, "code": null});
        self.headed((self.status, Json(json!({"error": error}))).into_response())
    }

    fn headed(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(WAIT));
            }
            StatusCode::UNAUTHORIZED => {
                let basic = HeaderValue::from_static("Basic realm=\"calotype\"");
                headers.insert(header::WWW_AUTHENTICATE, basic);
            }
            _ => {}
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match failure.kind {
            Kind::Request | Kind::Picture => StatusCode::BAD_REQUEST,
            Kind::Memory => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, failure.why)
    }
}

/// Whoever stands before all routes puts it into the words of its API.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
