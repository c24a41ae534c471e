//! The API's description: OpenAPI 3.1 made from the handlers and their types.
//!
//! Parameters are read one by one, to name the wrong one; the structs here only describe them.

use std::collections::BTreeSet;

use shoal_core::ModelKind;
use utoipa::{
    IntoParams, IntoResponses, OpenApi,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use super::answers::ErrorAnswer;

/// Where the page is.
pub(super) const DOCS_PATH: &str = "/docs";
/// Where the description is.
pub(super) const OPENAPI_PATH: &str = "/openapi.json";

/// The description without its routes, which are added as they are registered.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Shoal",
        description = "Recommendations from a cluster. Every refusal is `{\"detail\": \"…\"}`; every answer carries \
            `x-request-id`, the request's own or a new one. An answer is wholly of the version that it names.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    // Answers in an enum bring no schemas of their own.
    components(schemas(ErrorAnswer)),
    tags(
        (name = "recommendations", description = "Lists for users, for sessions, and for nobody in particular"),
        (name = "items", description = "What there is to recommend: found by title, described, and what is like it"),
        (name = "ratings", description = "What a user would rate an item"),
        (name = "service", description = "The service itself"),
        (name = "admin", description = "The cluster: what the command line says of it, from the coordinator that leads"),
        (name = "movies", description = "The same answers in the words of clients that were written against `/recommendations`"),
    ),
)]
pub(super) struct Description;

/// How long and how complete.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct CallQuery {
    /// Rather 503 than an answer without some shards.
    #[param(default = false)]
    complete: Option<bool>,
    /// How long the query may take in all; the router's own setting, 1,000 unless it was changed, by default.
    #[param(minimum = 1, maximum = 60000, example = 500)]
    timeout_ms: Option<u32>,
}

/// By which model: described from the kinds that there are.
pub(super) struct ModelQuery;

impl IntoParams for ModelQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let names: BTreeSet<&str> =
            ModelKind::ALL.into_iter().flat_map(|model| [model.name(), model.folder()]).collect();
        let pattern = format!("^({})$", Vec::from_iter(names).join("|"));
        let models: Vec<String> =
            ModelKind::ALL.into_iter().map(|model| format!("`{model}`: {}", model.about())).collect();
        let description = format!("{}. By default the model that was made the default.", models.join("; "));
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        let parameter = ParameterBuilder::new()
            .name("model")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .example(Some(ModelKind::Als.name().into()));
        vec![parameter.build()]
    }
}

/// What a single list may be made into.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct SingleQuery {
    /// Say what each of the rated items adds to each score; of `hybrid` what each of its sources adds.
    #[param(default = false)]
    explain: Option<bool>,
}

/// What only a user's list has.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct UserQuery {
    /// Whether the answer may be one that was kept, and may be kept.
    #[param(default = true)]
    use_cache: Option<bool>,
    /// `next_cursor` of the answer before, with that request's other parameters.
    cursor: Option<String>,
}

/// Refusals that any query may get.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "it describes answers")]
pub(super) enum Refusals {
    /// A parameter or field is wrong or unknown; it is named with its range.
    #[response(status = 400)]
    Invalid(ErrorAnswer),
    /// Where tokens are taken: the request has none that is good.
    #[response(status = 401)]
    Unauthorized(ErrorAnswer),
    /// The token is good for other things.
    #[response(status = 403)]
    Forbidden(ErrorAnswer),
    /// The version of the cursor is no longer served.
    #[response(status = 410)]
    Gone(ErrorAnswer),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorAnswer),
    /// Too much is under way, or the token has asked for as much as it may; come back after `Retry-After`.
    #[response(status = 429)]
    Overloaded(ErrorAnswer),
    /// No model is live yet, or not the one asked for, or shards that are needed do not answer; come back after `Retry-After`.
    #[response(status = 503)]
    Unavailable(ErrorAnswer),
    /// The time was up; come back after `Retry-After`.
    #[response(status = 504)]
    Timeout(ErrorAnswer),
}

/// What was asked about is not there.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "it describes answers")]
pub(super) enum NotFound {
    /// The version knows no such item or user.
    #[response(status = 404)]
    Unknown(ErrorAnswer),
}
