//! Names of models on the command line.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use shoal_core::ModelKind;

/// Reads the name of a model, in any spelling.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelKindParser;

impl TypedValueParser for ModelKindParser {
    type Value = ModelKind;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<ModelKind, clap::Error> {
        let parse = |name: &str| name.parse::<ModelKind>();
        parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values =
            ModelKind::ALL.into_iter().map(|kind| PossibleValue::new(kind.name()).help(kind.about()));
        Some(Box::new(values))
    }
}
