//! A service that answers as it is told, to see what is made of wrong answers.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, Uri, header},
};

/// Serves until the runtime ends: what `answer` gives for a path, as a status and JSON. Its address.
pub(crate) async fn service(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> String {
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |uri: Uri| {
        let answer = Arc::clone(&answer);
        async move {
            let (status, body) = answer(uri.path());
            (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/json")], body)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
