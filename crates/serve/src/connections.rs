//! Connections: as many as may be open, and none that stands still.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long nothing is accepted after that could not be done: as a rule there are too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers on `most` connections at once until `end` is there, and then those requests that have come. A head that takes longer
/// than `still` is not waited for.
pub async fn answer(listener: TcpListener, app: Router, most: usize, still: Duration, end: impl Future) {
    let (open, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(most)));
    let mut end = pin!(end);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = &mut end => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(still);
        let service = TowerToHyperService::new(app.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // Who was cut off knows.
            let _ = connection.await;
            drop(place);
        });
    }
    open.shutdown().await;
}
