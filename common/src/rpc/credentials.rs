//! What a caller shows with each call: a token, where it has one.

use tonic::{
    Request, Status,
    metadata::{AsciiMetadataValue, MetadataValue},
    service::Interceptor,
};

use crate::access::Token;

/// Adds a caller's token to its calls. Without a token calls are left as they are.
#[derive(Debug, Clone, Default)]
pub struct CallCredentials(Option<AsciiMetadataValue>);

impl CallCredentials {
    /// Shows this token, if there is one. What prints the metadata of a call does not print the token.
    #[must_use]
    pub fn new(token: Option<&Token>) -> Self {
        let header = token.map(|token| token.header());
        Self(header.and_then(|header| {
            let mut value = MetadataValue::try_from(header.as_bytes()).ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }
}

impl Interceptor for CallCredentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}
