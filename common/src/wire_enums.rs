//! Values of enums that this release does not know: protobuf hands them on as numbers, and whoever takes them for the
//! default does something else than was asked for. One look at a request finds them in every field that it has.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, Value};
use shoal_proto::FILE_DESCRIPTOR_SET;

/// The messages of the wire.
static MESSAGES: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// A value of an enum that this release does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownEnum {
    /// One field has a value that is not among its names.
    #[error(
        "the field '{field}' has the value {value}, which this release does not know; use a client of this release"
    )]
    Value {
        /// The field's path in the message, as `model.als.objective`.
        field: String,
        /// The value as a number, as it came over the wire.
        value: i32,
    },
    /// The message is not among those of the wire, so nothing is known of its fields.
    #[error("the message '{0}' is not one of this release")]
    Message(String),
}

/// Looks at every enum of a message and of the messages in it.
///
/// # Errors
/// The first value that this release does not know, with its field.
pub fn check_enums<M: Message + Name>(message: &M) -> Result<(), UnknownEnum> {
    let unknown = || UnknownEnum::Message(M::full_name());
    let descriptor = MESSAGES.get_message_by_name(&M::full_name()).ok_or_else(unknown)?;
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor, &bytes[..]).map_err(|_| unknown())?;
    check_message(&message, "")
}

fn check_message(message: &DynamicMessage, path: &str) -> Result<(), UnknownEnum> {
    for (field, value) in message.fields() {
        let path = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        let kind = match (field.is_map(), field.kind()) {
            (true, Kind::Message(entry)) => entry.map_entry_value_field().kind(),
            (_, kind) => kind,
        };
        check_value(value, &kind, &path)?;
    }
    Ok(())
}

fn check_value(value: &Value, kind: &Kind, path: &str) -> Result<(), UnknownEnum> {
    match (value, kind) {
        (&Value::EnumNumber(number), Kind::Enum(known)) if known.get_value(number).is_none() => {
            Err(UnknownEnum::Value { field: path.to_owned(), value: number })
        }
        (Value::Message(message), _) => check_message(message, path),
        (Value::List(values), _) => values.iter().try_for_each(|value| check_value(value, kind, path)),
        (Value::Map(values), _) => values.values().try_for_each(|value| check_value(value, kind, path)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::*;

    use super::*;

    #[test]
    fn an_unknown_value_is_found_wherever_it_is() {
        let model = |als| StartTrainingRequest {
            model: Some(ModelParameters {
                model: Some(model_parameters::Model::Als(als)),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(check_enums(&model(AlsParameters::default())), Ok(()));
        let wrong = check_enums(&model(AlsParameters { objective: 99, ..Default::default() })).unwrap_err();
        let expected = UnknownEnum::Value { field: "model.als.objective".to_owned(), value: 99 };
        assert_eq!(wrong, expected);

        let columns = vec![ListsColumn::Title.into(), -1];
        let lists = ListsParameters { columns, ..Default::default() };
        let lists = StartListsRequest { parameters: Some(lists), ..Default::default() };
        let wrong = check_enums(&lists).unwrap_err().to_string();
        assert!(wrong.contains("'parameters.columns' has the value -1"), "{wrong}");
    }
}
