//! Nothing is answered from files that were cut short under their readers.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use shoal_format::mapped_file;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

/// A service that answers from files below a folder. Where one of them was found torn, the answer is withheld: the caller asks
/// another replica.
#[derive(Debug, Clone)]
pub(crate) struct WholeFiles<S> {
    service: S,
    folder: Arc<Path>,
}

impl<S> WholeFiles<S> {
    pub(crate) fn new(service: S, folder: &Path) -> Self {
        Self { service, folder: folder.into() }
    }
}

/// A file below the folder that was found torn while it was mapped.
pub(crate) fn torn_below(folder: &Path) -> Option<PathBuf> {
    mapped_file::torn().into_iter().find(|path| path.starts_with(folder))
}

impl<S: NamedService> NamedService for WholeFiles<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for WholeFiles<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answering, folder) = (self.service.call(request), Arc::clone(&self.folder));
        Box::pin(async move {
            let answer = answering.await?;
            // Every answer is one message, which is made by now.
            Ok(match torn_below(&folder) {
                None => answer,
                Some(path) => {
                    let path = path.display();
                    Status::unavailable(format!("'{path}' was cut short while it was read from")).into_http()
                }
            })
        })
    }
}
